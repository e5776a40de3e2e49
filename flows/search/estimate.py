"""Estimates the cost of a run from its configuration and a short probe of the model; writes nothing to the home."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from thickets.flows.check.prompt import FirstPrompt, first_prompt
from thickets.flows.config.run import RunConfig
from thickets.flows.config.sizes import default_block
from thickets.flows.placement.description import describe_engine
from thickets.flows.placement.replicas import known_replicas
from thickets.flows.placement.short_lived import short_lived_engine
from thickets.flows.plan import RunPlan, answers_after_selection, count_merges, count_respondents, make_plan, own_limit
from thickets.flows.search.candidates import race_rule
from thickets.flows.search.disk import disk_bytes
from thickets.flows.search.forecast import WRAP_UP_S, expected_alive
from thickets.flows.search.racing_time import RacingTime, UnitTime, racing_time
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.adaptive.budget import Need, affordable
from thickets.tasks.adaptive.racing import Rule
from thickets.tasks.adaptive.token_limit import TokenLimit, learn_limit
from thickets.tasks.engines import BatchEngine, Engine
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.scoring.units import Block, judged, sampling_of
from thickets.tasks.seeds import candidates_of, population

# Two probes less far apart would tell the difference between their answers, not between their sizes.
_APART = 1.5


class Estimate(BaseModel):
    """Cost of a run; the test split is counted at the largest K, controls included. Training a student is not in it."""

    model_config = ConfigDict(frozen=True)

    model: str
    problem: str
    n_candidates: int
    completions: dict[str, int] = Field(description="Per split, the base included.")
    tokens: int = Field(description="New tokens, from the mean length in the probe.")
    tokens_at_most: int = Field(description="If every completion ran to max_tokens.")
    seconds: float = Field(
        description="Loading candidates and generating, shared out among the engines; starting up is not included."
    )
    disk_bytes: int = Field(description="What it leaves in its home, about: shards, database, report, MLflow's copies.")
    engine: str = Field("", description="The engines and what they run on, in one line.")
    warnings: tuple[str, ...] = Field((), description="What slows the engines down here, a line each.")
    n_engines: int = Field(1, description="Engines; 1 as well where a Ray cluster decides how many there is room for.")
    racing_saves_at_most: int = Field(
        0, description="Of the selection split's completions, if racing left only the best K after the first block."
    )
    racing: RacingTime | None = Field(None, description="What racing saves in seconds here, from two probes.")
    n_paid_for: int | None = Field(
        None, description="Candidates that scoring.budget pays for, about; the rest of the figures is about all."
    )
    limit: TokenLimit | None = Field(
        None, description="What the probe's answers of the base give for decoding.max_tokens: learned."
    )
    not_counted: str = Field("", description="What the run does besides, in words; empty: nothing.")
    first_prompt: FirstPrompt
    probe: Probe


class Probe(BaseModel):
    """Measurements that the estimate rests on: one candidate on one batch of selection examples."""

    model_config = ConfigDict(frozen=True)

    n_examples: int
    start_s: float = Field(0.0, description="Starting the engine, which the estimate leaves out.")
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
    """Plan the run, time one candidate on a batch of questions, and multiply.

    Raises:
        InputError: Something in the configuration cannot be used.
    """
    base = find_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    problem = load_problem(config.single_problem)
    data = config.data
    splits = draw_splits(problem, **data.draw)
    learns = config.decoding.learns_limit
    plan = make_plan(own_limit(config) if learns else config, base, problem, splits)
    splits = plan.splits  # less the rows that are too long
    n_engines = known_replicas(plan) or 1
    learning, began = None, time.perf_counter()
    with short_lived_engine(plan) as engine:
        start_s = time.perf_counter() - began
        if learns:
            learning = _probe_limit(engine, plan)
            plan = make_plan(config, base, problem, splits, limit=learning.limit.max_tokens)
        probe = _probe(engine, plan, plan.first_questions(min(plan.engine.batch_size, len(plan.blocks[0].prompts))))
        racing = _racing_time(engine, plan, probe, n_engines)
    engines = describe_engine(plan)
    n_respondents = count_respondents(plan)
    completions: dict[str, int] = {split.name: n_respondents[split.name] * len(split.examples) for split in splits}
    noises = count_merges(config).noises
    n_loads = sum((n_respondents[name] + noises.get(name, 0)) * plan.n_blocks(name) for name in completions)
    if (section := config.distillation) is not None:
        completions["training"] = (config.selection.k_values[-1] + section.attempts) * section.examples
    total = sum(completions.values())
    n_tokens, most_tokens = total * probe.tokens_per_completion, total * plan.sampling.max_tokens
    seconds = (n_loads * probe.load_s + total * probe.generate_s / probe.n_examples) / n_engines
    if learning is not None:
        completions["limit"] = learning.n_answers
        n_tokens, seconds = n_tokens + learning.n_tokens, seconds + learning.seconds
        most_tokens += learning.n_answers * learning.limit.own
    return Estimate(
        model=base.name,
        problem=config.single_problem.title,
        n_candidates=config.population.size,
        completions=completions,
        tokens=round(n_tokens),
        tokens_at_most=most_tokens,
        seconds=seconds,
        disk_bytes=disk_bytes(plan, completions, n_respondents, probe.bytes_per_completion),
        engine=str(engines),
        warnings=engines.warnings,
        racing_saves_at_most=_racing_saves_at_most(config, plan),
        racing=racing,
        n_engines=n_engines,
        n_paid_for=_n_paid_for(plan, probe, learning, n_engines),
        limit=None if learning is None else learning.limit,
        not_counted=_not_counted(config),
        first_prompt=first_prompt(plan),
        probe=probe.model_copy(update={"start_s": start_s}),
    )


def _not_counted(config: RunConfig) -> str:
    training = ["training the student"] if config.distillation else []
    rivals = [
        f"{method.upper()}, which rivals.budget limits" for method in (config.rivals.methods if config.rivals else ())
    ]
    return "; ".join(training + rivals)


def _n_paid_for(plan: RunPlan, probe: Probe, learning: _Learning | None, n_engines: int) -> int | None:
    if (budget := plan.config.scoring.budget) is None:
        return None
    n_questions = sum(plan.block_sizes("selection"))
    if budget.tokens is not None:
        given, fixed, per_answer = float(budget.tokens), 0.0, probe.tokens_per_completion
        spent = learning.n_tokens if learning else 0.0
    else:
        assert budget.minutes is not None
        load_s = probe.load_s * plan.n_blocks("selection") / n_questions
        per_answer = (probe.generate_s / probe.n_examples + load_s) / n_engines
        given, fixed = 60 * budget.minutes, WRAP_UP_S
        spent = learning.seconds if learning else 0.0
    need = Need(per_answer, n_questions, answers_after_selection(plan), fixed)
    return min(plan.config.population.size, affordable(given, spent + n_questions * per_answer, need))


def _racing_saves_at_most(config: RunConfig, plan: RunPlan) -> int:
    if (rule := race_rule(config)) is None:
        return 0
    return (config.population.size - _fewest_left(config, rule)) * sum(plan.block_sizes("selection")[1:])


def _fewest_left(config: RunConfig, rule: Rule) -> int:
    return min(config.population.size, max(rule.n_needed, rule.n_spared))


def _racing_time(engine: Engine, plan: RunPlan, probe: Probe, n_engines: int) -> RacingTime | None:
    """Time a block of another size too, and compare the race with the same questions in the device's own blocks."""
    if (rule := race_rule(plan.config)) is None:
        return None
    plain_block = max(default_block(plan.engine.device), *plan.block_sizes("selection"))
    n_other = min(plain_block, sum(plan.block_sizes("selection")), plan.engine.batch_size)
    if n_other < _APART * probe.n_examples:
        n_other = probe.n_examples // 2
    measured = [(probe.n_examples, probe.generate_s)]
    if n_other > 0:
        measured.append((n_other, _probe(engine, plan, plan.first_questions(n_other)).generate_s))
    return racing_time(
        UnitTime(probe.load_s, tuple(sorted(measured)), plan.engine.batch_size),
        plan.block_sizes("selection"),
        expected_alive(plan),
        _fewest_left(plan.config, rule),
        plain_block,
        n_engines,
    )


@dataclass(frozen=True, slots=True)
class _Learning:
    """Cost of learning the limit, estimated from the base's answers to the first batch of the selection split."""

    limit: TokenLimit
    n_answers: int
    n_tokens: float
    seconds: float


def _probe_limit(engine: Engine, plan: RunPlan) -> _Learning:
    """Let the base answer one batch under the problem's own limit; the run itself learns from the whole split."""
    block, size = plan.blocks[0], plan.engine.batch_size
    batch = replace(block, examples=block.examples[:size], prompts=block.prompts[:size])
    started = time.perf_counter()
    engine.load(None)
    answers = judged(BASE_ID, batch, engine.generate(batch.prompts, plan.sampling), plan.judge)
    share = sum(plan.block_sizes("selection")) / answers.height
    seconds = share * (time.perf_counter() - started)
    limit = learn_limit(answers, plan.sampling.max_tokens)
    return _Learning(limit, round(share * answers.height), share * limit.n_tokens, seconds)


def _probe(engine: Engine, plan: RunPlan, block: Block) -> Probe:
    [candidate] = candidates_of(population(1, plan.config.population.sigmas, plan.config.population.seed))
    engine.load(candidate)
    sampling, warm_up = sampling_of(None, block, plan.sampling), plan.first_questions(2)
    # The first call pays for compilation.
    n_tokens = plan.sampling.max_tokens if warm_up.labels else 2
    engine.generate(warm_up.prompts, sampling_of(None, warm_up, replace(plan.sampling, max_tokens=n_tokens)))
    engine.load(None)  # or the candidate would be there already, and its load take no time
    together = plan.config.scoring.candidates_per_shard if isinstance(engine, BatchEngine) else 1
    started = time.perf_counter()
    if isinstance(engine, BatchEngine):
        engine.load_many([candidate] * together)
        loaded = time.perf_counter()
        completions = engine.generate_many(block.prompts, [sampling] * together)[0]
    else:
        engine.load(candidate)
        loaded = time.perf_counter()
        completions = engine.generate(block.prompts, sampling)
    ended = time.perf_counter()
    return Probe(
        n_examples=len(block.prompts),
        load_s=(loaded - started) / together,
        generate_s=(ended - loaded) / together,
        tokens_per_completion=sum(c.n_tokens for c in completions) / len(completions),
        bytes_per_completion=sum(len(c.text.encode()) for c in completions) / len(completions),
    )


Estimate.model_rebuild()
EstimateOfMany.model_rebuild()
