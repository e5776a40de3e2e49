"""The floor of a group: a model with the smallest one's architecture whose weights are random, written once."""

from __future__ import annotations

import re
from pathlib import Path

from filelock import FileLock

from thickets.flows.runtime.environment import log
from thickets.storage.errors import InputError
from thickets.storage.files import new_folder
from thickets.storage.home import Home, model_cache
from thickets.storage.models.base import BaseModelRef
from thickets.tasks.engines.model_kinds import kind_of

_SIGNALS = "signals-random"


def floor_model(home: Home, base: BaseModelRef, *, trust_remote_code: bool = False) -> Path:
    """Return the checkpoint with a model's architecture and tokenizer, and random weights; written if it is not there.

    Args:
        home: Keeps it, below ``models``; a signals network's is kept beside the others, in the model cache.
        base: The model.
        trust_remote_code: Run Python code found in the model's folder.

    Raises:
        InputError: It cannot be made or written.
    """
    if not kind_of(base.path).is_language_model:
        return _signals_floor(base.path)
    name = re.sub(r"[^a-z0-9._-]", "-", Path(base.name).name.lower().removesuffix(".gguf"))
    target = home.root / "models" / f"random-{name}-{base.sha256[:8]}"
    if target.is_dir():
        return target
    from thickets.tasks.export.random_weights import write_random_checkpoint  # PyTorch: seconds

    log.info(f"writing the floor, {base.name} with random weights, to {target}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.is_dir():
                with new_folder(target, "floor") as folder:
                    write_random_checkpoint(base.path, folder, trust_remote_code=trust_remote_code)
    except InputError as error:
        raise InputError(f"floor: {error}; --no-floor does without") from None
    except OSError as error:
        raise InputError(f"floor: cannot write {target}: {error.strerror or error}") from None
    return target


def _signals_floor(folder: Path) -> Path:
    from thickets.tasks.signals.pretraining import made_model
    from thickets.tasks.signals.recipe import Pretraining, SignalsConfig, read_config

    learnt = read_config(folder)
    untrained = Pretraining(families=(), steps=0, seed=learnt.pretraining.seed)
    return made_model(_SIGNALS, SignalsConfig(architecture=learnt.architecture, pretraining=untrained), model_cache())
