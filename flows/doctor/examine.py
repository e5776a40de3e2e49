"""Examines this machine: what is installed, what `auto` becomes for a model, and the engine's self-test."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from thickets.flows.config.engine import EngineConfig
from thickets.flows.config.engine_spec import engine_spec
from thickets.flows.config.run import RunConfig
from thickets.flows.doctor.machine import Machine, look
from thickets.storage.errors import InputError, RunError
from thickets.storage.models.base import BUILT_IN, BaseModelRef, resolve_model
from thickets.tasks.engines import EngineSpec, resolve_spec, untested_engine
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.engines.noise_scale import settled
from thickets.tasks.engines.self_test import SelfTest, Testable, self_test
from thickets.tasks.noise import Perturbation

_MAX_LENGTH = 512  # tokens; the test needs less, and vLLM sets memory aside for as many
_BATCH = 64  # a few prompts are asked; what a run takes where its config leaves it empty depends on its splits


class Choice(BaseModel):
    """What an engine's ``auto`` becomes here for one model.

    Attributes:
        model: Its name.
        engine: transformers, vllm or signals.
        device: cpu, cuda, ...
        dtype: Type of the weights.
        why: A reason for each of the three.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    engine: str
    device: str
    dtype: str
    why: dict[str, str]


class Examination(BaseModel):
    """What was found.

    Attributes:
        machine: What is installed and attached.
        choice: None where there is no model to choose for.
        self_test: None where it was left out or failed.
        warnings: What slows runs down here, a line each.
        problems: What is broken here, a line each.
    """

    model_config = ConfigDict(frozen=True)

    machine: Machine
    choice: Choice | None
    self_test: SelfTest | None
    warnings: tuple[str, ...]
    problems: tuple[str, ...]


def examine(config: RunConfig | None = None, model: str | None = None, *, test: bool = True) -> Examination:
    """Examine this machine for a configuration's model and engine, for another model, or for the built-in one.

    Args:
        config: A run's.
        model: A checkpoint instead of the configuration's.
        test: Start the engine and test it.

    Raises:
        InputError: The model cannot be found or used.
    """
    machine = look()
    engine = config.engine if config is not None else EngineConfig()
    warnings: list[str] = []
    try:
        base = _base(config, model)
    except InputError as error:
        if config is not None or model is not None:
            raise
        warnings.append(f"no engine was tested: {error}")
        base = None
    if base is None:
        return _found(machine, None, None, warnings, [])
    noise = Perturbation()
    if config is not None:
        noise = settled(config.perturbation, config.noise.rule, base, trust_remote_code=engine.trust_remote_code)
    asked = replace(
        engine_spec(engine, base.path, noise),
        batch_size=engine.batch_size or _BATCH,
        max_length=_MAX_LENGTH,
    )
    try:
        resolved = resolve_spec(asked)
    except (ImportError, OSError) as error:  # a library that is installed and cannot be loaded
        return _found(machine, None, None, warnings, [f"the engine cannot be chosen: {_line(error)}"])
    choice, slower = _choice(base, asked, resolved)
    warnings += [slower] if slower else []
    tested, problems = _tested(resolved) if test and resolved.kind != "signals" else (None, [])
    return _found(machine, choice, tested, warnings, problems)


def _found(
    machine: Machine, choice: Choice | None, tested: SelfTest | None, warnings: list[str], problems: list[str]
) -> Examination:
    return Examination(
        machine=machine,
        choice=choice,
        self_test=tested,
        warnings=tuple(warnings),
        problems=(*machine.problems, *problems),
    )


def _base(config: RunConfig | None, model: str | None) -> BaseModelRef:
    if config is None:
        return resolve_model(model or BUILT_IN)
    remote = config.engine.trust_remote_code
    if model is not None:
        return resolve_model(model, trust_remote_code=remote)
    return resolve_model(config.model, config.revision, trust_remote_code=remote)


def _choice(base: BaseModelRef, asked: EngineSpec, resolved: EngineSpec) -> tuple[Choice, str | None]:
    from thickets.tasks.engines.choice import reasons, slower_than_needed
    from thickets.tasks.engines.dtypes import stored_dtype

    stored = stored_dtype(base.path) if kind_of(base.path).is_language_model else "float32"
    choice = Choice(
        model=base.name,
        engine=resolved.kind,
        device=resolved.device,
        dtype="float32" if resolved.dtype == "auto" else resolved.dtype,  # a signals network's
        why=reasons(asked, resolved, stored),
    )
    return choice, slower_than_needed(asked.kind, resolved)


def _tested(spec: EngineSpec) -> tuple[SelfTest | None, list[str]]:
    """Start an engine, test it and close it; whatever it raises is a finding, not the end of the examination."""
    try:
        engine = untested_engine(spec)
    except Exception as error:
        return None, [f"the engine cannot be started: {_line(error)}"]
    try:
        assert isinstance(engine, Testable)
        return self_test(engine), []
    except RunError as error:
        return None, [str(error)]
    except Exception as error:
        return None, [f"the engine's self-test could not be finished: {_line(error)}"]
    finally:
        engine.close()


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
