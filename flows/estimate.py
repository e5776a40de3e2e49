"""What a run will cost, from its configuration and a short probe of the model; nothing is written to the home."""

from __future__ import annotations

import time
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from flows.askers import answers_after_selection, askers
from flows.budget import WRAP_UP_S
from flows.config import RunConfig
from flows.plan import RunPlan, make_plan
from flows.racing import race_rule
from tasks.base_model import find_base_model
from tasks.budget import Need, affordable
from tasks.engines import BatchEngine, Engine, build_engine
from tasks.problems import load_problem
from tasks.seeds import candidates_of, population
from tasks.splits import draw_splits

# A completion is kept once in a shard and once, without its text, in the database: 42 MB for 400,000 rows there. Text
# is counted as it is, although compression leaves less of it: better too much.
_DATABASE_ROW_BYTES = 105
_SHARD_ROW_BYTES = 10


class Estimate(BaseModel):
    """Cost of a run; the test split is counted at the largest K, controls included. Training a student is not in it."""

    model_config = ConfigDict(frozen=True)

    model: str
    problem: str
    n_candidates: int
    completions: dict[str, int] = Field(description="Per split, the base included.")
    tokens: int = Field(description="New tokens, from the mean length in the probe.")
    tokens_at_most: int = Field(description="If every completion ran to max_tokens.")
    seconds: float = Field(description="Loading candidates and generating; starting up is not included.")
    disk_bytes: int = Field(description="Shards and database, an upper bound.")
    racing_saves_at_most: int = Field(
        0, description="Of the selection split's completions, if racing left only the best K after the first block."
    )
    n_paid_for: int | None = Field(
        None, description="Candidates that scoring.budget pays for, about; the rest of the figures is about all."
    )
    probe: Probe


class Probe(BaseModel):
    """What the estimate rests on: one candidate on one batch of selection examples."""

    model_config = ConfigDict(frozen=True)

    n_examples: int
    load_s: float = Field(description="To become a candidate.")
    generate_s: float = Field(description="For the examples of the probe.")
    tokens_per_completion: float
    bytes_per_completion: float


class EstimateOfMany(BaseModel):
    """Cost of a run per problem, and in all."""

    model_config = ConfigDict(frozen=True)

    problems: tuple[Estimate, ...]
    completions: dict[str, int] = Field(description="Per split, over all problems.")
    tokens: int
    tokens_at_most: int
    seconds: float
    disk_bytes: int


def estimate_many(config: RunConfig) -> EstimateOfMany:
    """Estimate the run of every problem, one probe each, and add up.

    Raises:
        InputError: Something in the configuration cannot be used.
    """
    each = tuple(map(estimate, config.per_problem))
    return EstimateOfMany(
        problems=each,
        completions={split: sum(one.completions[split] for one in each) for split in each[0].completions},
        tokens=sum(one.tokens for one in each),
        tokens_at_most=sum(one.tokens_at_most for one in each),
        seconds=sum(one.seconds for one in each),
        disk_bytes=sum(one.disk_bytes for one in each),
    )


def estimate(config: RunConfig) -> Estimate:
    """Plan the run, ask one candidate a batch of questions, and multiply.

    Raises:
        InputError: Something in the configuration cannot be used.
    """
    base = find_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    problem = load_problem(config.single_problem)
    data = config.data
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=data.seed)
    plan = make_plan(config, base, problem, splits)
    engine = build_engine(plan.engine)
    try:
        probe = _probe(engine, plan)
    finally:
        engine.close()
    count = askers(plan)
    completions: dict[str, int] = {split.name: count[split.name] * len(split.examples) for split in splits}
    n_loads = sum(count[split.name] * plan.n_blocks(split.name) for split in splits)
    if (section := config.distillation) is not None:
        completions["training"] = (config.selection.k_values[-1] + section.attempts) * section.examples
    total = sum(completions.values())
    return Estimate(
        model=base.name,
        problem=config.single_problem.name,
        n_candidates=config.population.size,
        completions=completions,
        tokens=round(total * probe.tokens_per_completion),
        tokens_at_most=total * plan.sampling.max_tokens,
        seconds=n_loads * probe.load_s + total * probe.generate_s / probe.n_examples,
        disk_bytes=round(total * (probe.bytes_per_completion + _SHARD_ROW_BYTES + _DATABASE_ROW_BYTES)),
        racing_saves_at_most=_racing_saves_at_most(config, plan),
        n_paid_for=_n_paid_for(plan, probe),
        probe=probe,
    )


def _n_paid_for(plan: RunPlan, probe: Probe) -> int | None:
    if (budget := plan.config.scoring.budget) is None:
        return None
    n_questions = sum(plan.block_sizes("selection"))
    if budget.tokens is not None:
        given, per_answer, fixed = float(budget.tokens), probe.tokens_per_completion, 0.0
    else:
        assert budget.minutes is not None
        load_s = probe.load_s * plan.n_blocks("selection") / n_questions
        given, per_answer, fixed = 60 * budget.minutes, probe.generate_s / probe.n_examples + load_s, WRAP_UP_S
    need = Need(per_answer, n_questions, answers_after_selection(plan), fixed)
    return min(plan.config.population.size, affordable(given, n_questions * per_answer, need))


def _racing_saves_at_most(config: RunConfig, plan: RunPlan) -> int:
    if (rule := race_rule(config)) is None:
        return 0
    n_hopeless = max(0, config.population.size - max(rule.n_needed, rule.n_spared))
    return n_hopeless * sum(plan.block_sizes("selection")[1:])


def _probe(engine: Engine, plan: RunPlan) -> Probe:
    prompts = plan.blocks[0].prompts[: plan.config.engine.batch_size]
    [candidate] = candidates_of(population(1, plan.config.population.sigmas, plan.config.population.seed))
    engine.load(candidate)
    engine.generate(prompts[:2], replace(plan.sampling, max_tokens=2))  # the first call pays for compilation
    together = plan.config.scoring.candidates_per_shard if isinstance(engine, BatchEngine) else 1
    started = time.perf_counter()
    if isinstance(engine, BatchEngine):
        engine.load_many([candidate] * together)
        loaded = time.perf_counter()
        completions = engine.generate_many(prompts, [plan.sampling] * together)[0]
    else:
        engine.load(candidate)
        loaded = time.perf_counter()
        completions = engine.generate(prompts, plan.sampling)
    ended = time.perf_counter()
    return Probe(
        n_examples=len(prompts),
        load_s=(loaded - started) / together,
        generate_s=(ended - loaded) / together,
        tokens_per_completion=sum(c.n_tokens for c in completions) / len(completions),
        bytes_per_completion=sum(len(c.text.encode()) for c in completions) / len(completions),
    )


Estimate.model_rebuild()
EstimateOfMany.model_rebuild()
