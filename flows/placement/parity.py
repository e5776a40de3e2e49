"""Compares two engines of one configuration on the same questions, one after the other; nothing is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from thickets.flows.config.file import load_config
from thickets.flows.config.run import RunConfig
from thickets.flows.plan import RunPlan, make_plan, own_limit
from thickets.storage.errors import InputError
from thickets.tasks.engines import Engine, EngineSpec, build_engine
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.engines.parity import Parity, compare
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.scoring.units import candidate_id, judged, sampling_of
from thickets.tasks.seeds import candidates_of, population
from thickets.tasks.types import Candidate

_FORM = "KIND[:FIELD=VALUE,...], e.g. transformers:batch_size=16"


class ParityResult(BaseModel):
    """The comparison, with the model, the problem and the two engines."""

    model_config = ConfigDict(frozen=True)

    model: str
    problem: str
    split: str = "selection"
    n_examples: int
    a: dict[str, Any] = Field(description="How engine A was built.")
    b: dict[str, Any] = Field(description="How engine B was built.")
    parity: Parity


def engine_config(source: str, overrides: Sequence[str], option: str, text: str) -> RunConfig:
    """Load the configuration with another engine.

    Args:
        source: As `load_config` takes it.
        overrides: As `load_config` takes them.
        option: The command's option for this engine, for messages: ``--a``.
        text: ``KIND[:FIELD=VALUE,...]``, the fields being those of `EngineConfig`; empty: unchanged.

    Raises:
        InputError: The text is not of that form, or names a kind, a field or a value that does not exist.
    """
    if not text:
        return load_config(source, overrides)
    kind, colon, rest = text.partition(":")
    # A comma within a value, as in a list, is not followed by a field's name and "=".
    fields = re.split(r",(?=\s*[\w.]+\s*=)", rest) if rest else []
    if not kind or (colon and not rest) or not all("=" in field for field in fields):
        raise InputError(f"{option}: found {text!r}; give {_FORM}")
    changes = [f"engine.kind={kind.strip()}", *(f"engine.{field.strip()}" for field in fields)]
    try:
        return load_config(source, [*overrides, *changes])
    except InputError as error:
        raise InputError(*(f"{option}: {line}" for line in error.args)) from None


def compare_engines(
    config: RunConfig,
    config_a: RunConfig,
    config_b: RunConfig,
    *,
    n_candidates: int,
    n_shown: int = 3,
    say: Callable[[str], None] = lambda line: None,
    build: Callable[[EngineSpec], Engine] = build_engine,
) -> ParityResult:
    """Let the base and the first candidates answer the selection split, with one engine and then with the other.

    Args:
        config: The model, the problem and the population.
        config_a: The configuration with engine A.
        config_b: The configuration with engine B.
        n_candidates: How many candidates, from the beginning of the population with its sigmas shared out evenly.
        n_shown: Most differing examples to return.
        say: Called with one line of progress per respondent and engine.
        build: Builds an engine.

    Raises:
        InputError: Something in the configuration cannot be used.
    """
    if n_candidates > config.population.size:
        raise InputError(
            f"--candidates: found {n_candidates}; this population has {config.population.size}, so give at most that "
            "or raise population.size"
        )
    base = find_base_model(config.model, config.revision, trust_remote_code=_runs_model_code(config_a, config_b))
    problem = load_problem(config.single_problem)
    data = config.data
    splits = draw_splits(problem, **data.draw)
    drawn = population(n_candidates, config.population.sigmas, config.population.seed)
    respondents = [None, *candidates_of(drawn)]
    # Both plans before the first engine: an error in the second must not appear after an hour with the first.
    # A learned limit would differ between the engines, so both answer under the problem's own limit.
    plans = [
        make_plan(own_limit(side) if side.decoding.learns_limit else side, base, problem, splits)
        for side in (config_a, config_b)
    ]
    a, b = (_answer(name, plan, respondents, say, build) for name, plan in zip("AB", plans, strict=True))
    questions = {example.id: (example.question, example.answer) for example in splits.selection.examples}
    return ParityResult(
        model=base.name,
        problem=config.single_problem.title,
        n_examples=len(plans[0].splits.selection.examples),
        a=_description(plans[0]),
        b=_description(plans[1]),
        parity=compare(a, b, questions, n_shown=n_shown),
    )


def _answer(
    name: str,
    plan: RunPlan,
    respondents: Sequence[Candidate | None],
    say: Callable[[str], None],
    build: Callable[[EngineSpec], Engine],
) -> pl.DataFrame:
    """Return one engine's verdicts; close the engine first, so that the next one has the machine to itself."""
    blocks = [block for block in plan.blocks if block.split == "selection"]
    engine = build(plan.engine)
    frames = []
    try:
        for done, candidate in enumerate(respondents):
            say(f"engine {name} ({plan.engine.kind}): {done + 1} of {len(respondents)}, {candidate_id(candidate)}")
            engine.load(candidate)
            frames += [
                judged(
                    candidate_id(candidate),
                    block,
                    engine.generate(block.prompts, sampling_of(None, block, plan.sampling)),
                    plan.judge,
                )
                for block in blocks
            ]
    finally:
        engine.close()
    return pl.concat(frames)


def _runs_model_code(*configs: RunConfig) -> bool:
    return any(config.engine.trust_remote_code for config in configs)


def _description(plan: RunPlan) -> dict[str, Any]:
    """Return the engine's resolved settings, without those that both engines share; vLLM's own as ``vllm.<name>``."""
    settings = asdict(plan.engine)
    own = settings.pop("vllm") if plan.engine.kind == "vllm" else {}
    settings = {name: value for name, value in settings.items() if name not in {"model_path", "perturbation", "vllm"}}
    return settings | {f"vllm.{name}": value for name, value in own.items()}
