"""The config.json of a signals model, and the recipes of the named ones. Needs no PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thickets.storage.errors import InputError
from thickets.tasks.signals.families import MIX, TARGET
from thickets.tasks.signals.values import N_LEVELS

MODEL_TYPE: Final = "thickets-signals"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Architecture(_Part):
    """A multilayer perceptron with ReLU.

    Attributes:
        context: Values it reads. Like `width` a multiple of 16 floats, which is one cache line of a stack of networks.
        width: Units of each hidden layer.
        depth: Linear layers.
        levels: Number of levels that it chooses the next value from.
    """

    context: int = Field(16, gt=0, multiple_of=16)
    width: int = Field(64, gt=0, multiple_of=16)
    depth: int = Field(4, ge=2)
    levels: Literal[80] = N_LEVELS


class Pretraining(_Part):
    """How the weights were trained: Adam on the cross-entropy of the next value; no steps leave the random weights."""

    families: tuple[str, ...]
    steps: int = Field(ge=0)
    batch: int = Field(128, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    seed: int = Field(0, ge=0)


class SignalsConfig(_Part):
    """The config.json of a signals model."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_type: Literal["thickets-signals"] = MODEL_TYPE
    architecture: Architecture = Architecture()
    pretraining: Pretraining


# The three regimes of Gan & Isola 2026 around the same task, by what the network has learnt. The seed is one of
# several that were tried: how dense the thicket is differs between them (docs/signals.md).
_SEED = 2
RECIPES: dict[str, SignalsConfig] = {
    "signals-needle": SignalsConfig(pretraining=Pretraining(families=(), steps=0, seed=_SEED)),
    "signals-thicket": SignalsConfig(pretraining=Pretraining(families=MIX, steps=300, seed=_SEED)),
    "signals-plateau": SignalsConfig(pretraining=Pretraining(families=(TARGET,), steps=300, seed=_SEED)),
}


def is_signals_model(folder: Path) -> bool:
    """Return whether a model folder holds a signals network, by its config.json; see `model_kinds.kind_of`."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == MODEL_TYPE


def read_config(folder: Path) -> SignalsConfig:
    """Read the config.json of a signals model.

    Raises:
        InputError: It is not one; names the first field that is wrong.
    """
    path = folder / "config.json"
    try:
        return SignalsConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"model: cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"model: {path}: {where}: {first['msg']}") from None
