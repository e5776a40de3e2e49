"""The models of a group: checked before anything is scored, each with the configuration of a run of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thickets.flows.config.preflight import check_inputs
from thickets.flows.config.run import RunConfig
from thickets.storage.errors import InputError
from thickets.storage.fingerprint import fingerprint
from thickets.storage.models.base import BaseModelRef
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.engines.model_kinds import kind_of

FLOOR_NAME = "random weights"
# Every file that decides how a tokenizer cuts a text.
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")


@dataclass(frozen=True, slots=True)
class Member:
    """One model of a group.

    Attributes:
        name: Short, and no other model's of the group.
        config: Of its run: as if it named this model alone.
        base: The model.
        is_floor: Whether its weights are random.
        prompt_form: See `thickets.tasks.results.regimes.Regime`.
        tokenizer: Likewise.
    """

    name: str
    config: RunConfig
    base: BaseModelRef
    is_floor: bool
    prompt_form: str
    tokenizer: str


def check_members(config: RunConfig, models: Sequence[str]) -> tuple[Member, ...]:
    """Check a configuration with each of some models; nothing is written.

    Args:
        config: The run; its own model counts only if it is among the others.
        models: Two or more, each as `model` would name it.

    Returns:
        The models as they are named.

    Raises:
        InputError: There are too few or two are the same, the configuration is of several runs already, or a model
            cannot be had or used.
    """
    _check_sections(config)
    if len(models) < 2:
        found = f" ({models[0]})" if models else ""
        raise InputError(f"models: found {len(models)}{found}; a comparison takes two models or more")
    members: list[Member] = []
    names = _names(models)
    for place, model in enumerate(models):
        if (first := models.index(model)) != place:
            raise InputError(f"models[{place}] repeats models[{first}] ({model}); name each model once")
        member = _member(config, model, names[place], f"models[{place}]")
        same = next((at for at, each in enumerate(members) if each.base.sha256 == member.base.sha256), None)
        if same is not None:
            raise InputError(
                f"models[{place}] ({model}) has the weights of models[{same}] ({models[same]}); name each model once"
            )
        members.append(member)
    return tuple(members)


def with_floor(config: RunConfig, members: Sequence[Member], floor: Path) -> tuple[Member, ...]:
    """Add the floor to some models, or mark the one among them that has its weights.

    Args:
        config: As for `check_members`.
        members: The models.
        floor: The checkpoint with random weights.

    Raises:
        InputError: The floor cannot be used, or but one model is left beside it.
    """
    added = _member(config, str(floor), FLOOR_NAME, "floor")
    others = tuple(each for each in members if each.base.sha256 != added.base.sha256)
    if len(others) < 2:
        raise InputError(
            f"models: found {len(others)} beside {next(each.name for each in members if each not in others)}, whose "
            "weights are random and which is the floor; name two others, or leave the floor out (--no-floor)"
        )
    same = next((each for each in members if each not in others), added)
    return (*others, Member(same.name, same.config, same.base, True, same.prompt_form, same.tokenizer))


def smallest(members: Sequence[Member]) -> Member:
    """Return the model with the fewest parameters, the first of several."""
    return min(members, key=lambda each: each.base.n_parameters)


def _check_sections(config: RunConfig) -> None:
    if config.problems is not None:
        raise InputError(
            f"problems: found {len(config.problems)}; several models are compared on one problem, so set problem to "
            "one of them and problems to null"
        )
    if config.rounds is not None:
        raise InputError("rounds: several models are compared by a single search around each; set rounds to null")
    if config.revision is not None:
        raise InputError(
            f"revision is {config.revision!r}, but several models are named; remove it, or name folders that hold the "
            "revisions"
        )


def _member(config: RunConfig, model: str, name: str, field: str) -> Member:
    own = config.model_copy(update={"model": model})
    try:
        check_inputs(own)
        base = find_base_model(model, trust_remote_code=config.engine.trust_remote_code)
        template = kind_of(base.path).prompt_template(
            base.path, config.decoding.chat_template_kwargs, trust_remote_code=config.engine.trust_remote_code
        )
    except InputError as error:
        raise InputError(f"{field}: {error}") from None
    return Member(name, own, base, False, fingerprint(template.identity())[:16], _tokenizer(base.path))


def _tokenizer(folder: Path) -> str:
    digest = hashlib.sha256()
    found = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    for path in found:
        digest.update(f"{path.name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16] if found else ""


def _names(models: Sequence[str]) -> list[str]:
    """Return the last part of each model's name, or the whole where two end alike."""
    short = [Path(model).name.removesuffix(".gguf") or model for model in models]
    return [name if short.count(name) == 1 else model for name, model in zip(short, models, strict=True)]
