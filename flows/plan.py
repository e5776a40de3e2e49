"""Turns a configuration into everything a run needs: model, splits, prompts, identity, folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from thickets.flows.config.engine_spec import engine_spec
from thickets.flows.config.prompts import PromptPlan, plan_prompts
from thickets.flows.config.run import RunConfig
from thickets.flows.config.sizes import batch_size, examples_per_block
from thickets.storage.errors import InputError, RunError
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import Home
from thickets.storage.models.base import BaseModelRef
from thickets.storage.shards.folder import ShardFolder, is_url, open_shard_folder, shard_location
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.engines import EngineSpec, resolve_spec
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.engines.noise_scale import settled
from thickets.tasks.engines.prompts import Template
from thickets.tasks.evaluation.wordings import (
    Wordings,
    leave_out_too_long,
    plan_wordings,
)
from thickets.tasks.merging.trials import n_trials
from thickets.tasks.problems import Problem
from thickets.tasks.problems.base import chooses
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.labelled import labels_of
from thickets.tasks.problems.splits import Split, Splits
from thickets.tasks.scoring.identity import answer_identity, judgement_identity, run_id
from thickets.tasks.scoring.units import Block, make_blocks
from thickets.tasks.types import Example, Sampling

_LENGTH_STEP = 256  # tokens


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run before anything is scored.

    Attributes:
        config: The configuration.
        base: The base model.
        engine: Settings of the engine, every ``auto`` resolved except the checkpoint's own dtype.
        problem: Gives questions, prompts and verdicts.
        judge: Judges answers by the problem's rules.
        splits: The three splits, less the rows that are too long.
        scored: Those to score: the three, or another.
        template: Renders and tokenizes prompts.
        sampling: Decoding, with the problem's defaults filled in.
        blocks: The examples with their prompts, in units of generation.
        identity: The values whose hash is the fingerprint.
        fingerprint: Names the shards; runs with equal fingerprints share answers.
        judgement: The values whose hash names the verdicts.
        verdicts: That hash; runs in which it is equal too share verdicts.
        run_id: Names the run.
        home: The folder that keeps everything.
        wordings: The prompt templates that a control tries; None without it.
        dropped: Rows that were too long and left out, by split; empty if there were none.
        warnings: What is odd about the prompts, a line each.
    """

    config: RunConfig
    base: BaseModelRef
    engine: EngineSpec
    problem: Problem
    judge: Judge
    splits: Splits
    scored: tuple[Split, ...]
    template: Template
    sampling: Sampling
    blocks: tuple[Block, ...]
    identity: dict[str, Any]
    fingerprint: str
    judgement: dict[str, Any]
    verdicts: str
    run_id: str
    home: Home
    wordings: Wordings | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def shard_location(self) -> str:
        """Folder or URL of the shards, as every machine of the run opens it."""
        return shard_location(self.home, self.fingerprint, self.config.storage.shards)

    @property
    def shard_folder(self) -> ShardFolder:
        """The shard folder, as this machine opens it."""
        return open_shard_folder(self.shard_location)

    @property
    def shards(self) -> Path:
        """Folder that scores are read from: the shard folder, or the copy on this machine if shards go to a URL."""
        where = self.config.storage.shards
        inside = self.home.shards(self.fingerprint)
        return inside if where is None or is_url(where) else Path(self.shard_location)

    @property
    def verdict_folder(self) -> ShardFolder:
        """The folder of the verdicts on the shards, as this machine opens it."""
        return self.shard_folder.verdicts(self.verdicts)

    def book(self, database: Path, run_id: str, population: pl.DataFrame, split: str | None = None) -> ScoreBook:
        """Return a score book of the plan's answers.

        Args:
            database: The database's file.
            run_id: Under which it keeps them.
            population: The candidates, as for `ScoreBook`.
            split: The only split to keep; None: all.
        """
        blocks = [block for block in self.blocks if split in (None, block.split)]
        return ScoreBook(
            database, self.shards, run_id, population, blocks, self.judge, self.verdicts, self.shard_folder
        )

    def block_sizes(self, split: str) -> list[int]:
        """Return the number of questions of every block of a split, in the order of the blocks."""
        return [len(block.examples) for block in self.blocks if block.split == split]

    def first_questions(self, n: int) -> Block:
        """Return the first questions of the selection split as one block, without other wordings."""
        blocks = [block for block in self.blocks if block.split == "selection"]
        examples = tuple(example for block in blocks for example in block.examples)[:n]
        prompts = tuple(prompt for block in blocks for prompt in block.prompts)[:n]
        return Block("selection", 0, examples, prompts, labels=labels_of(self.problem, self.template, examples))

    def n_blocks(self, split: str) -> int:
        """Count the units of generation per candidate on a split."""
        return sum(1 for block in self.blocks if block.split == split)


def make_plan(
    config: RunConfig,
    base: BaseModelRef,
    problem: Problem,
    splits: Splits,
    resolve: Callable[[EngineSpec], EngineSpec] = resolve_spec,
    scored: Iterable[Split] | None = None,
    limit: int | None = None,
) -> RunPlan:
    """Make the plan of a run; nothing is generated or written.

    Args:
        config: The configuration.
        base: The base model.
        problem: Gives questions, prompts and verdicts.
        splits: The three splits.
        resolve: Replaces every ``auto`` of the engine by what the machine that will run it has.
        scored: The splits to score; None: all three.
        limit: Most new tokens per answer, if `decoding.max_tokens` is learned (`search.answer_limit`).

    Raises:
        InputError: A prompt cannot be rendered, or is too long for the model (`data.too_long`); the selection split is
            one block here, and is to be raced; or a pattern of `noise.scale` matches nothing.
        RunError: `decoding.max_tokens` is learned, but no limit is given.
    """
    if chooses(problem) and config.decoding.learns_limit:
        raise InputError(
            "decoding.max_tokens: found learned, but with problem.scoring: loglikelihood nothing is generated from "
            "which it could be; leave it empty"
        )
    prompts = plan_prompts(config, base.path, problem, splits if scored is None else scored)
    template, own = prompts.template, problem.sampling
    scored = tuple(each.split for each in prompts.splits)
    splits = splits.with_changed(scored)
    sampling = Sampling(
        max_tokens=_max_tokens(config, own, limit),
        stop=tuple(
            dict.fromkeys((*(own.stop if config.decoding.stop is None else config.decoding.stop), *template.stop))
        ),
    )
    noise = settled(config.perturbation, config.noise.rule, base, trust_remote_code=config.engine.trust_remote_code)
    spec = resolve(engine_spec(config.engine, base.path, noise))
    per_block = examples_per_block(config, spec.device)
    wordings = _wordings(config, base.path, problem, splits, template, sampling)
    blocks = tuple(
        block
        for each in prompts.splits
        for block in make_blocks(
            each.split,
            problem,
            template,
            per_block,
            wordings.others if wordings and each.split.name in ("validation", "test") else None,
            each.prompts,
        )
    )
    spec = replace(spec, batch_size=batch_size(config, spec.device), max_length=_max_length(prompts, blocks, sampling))
    identity = answer_identity(
        base_sha256=base.sha256,
        engine=spec,
        problem=problem,
        blocks=blocks,
        template=template,
        sampling=sampling,
        examples_per_block=per_block,
    )
    answers = fingerprint(identity)
    judge = Judge(problem, prompts.reasoning)
    judgement = judgement_identity(judge, scored)
    verdicts = fingerprint(judgement)
    # Controls are no part of either identity: they change neither a greedy answer nor which experts are selected, and
    # a finished run that is started again with one more of them scores only what that one adds.
    population = config.population.model_dump(mode="json", exclude_none=True)
    # Nor are racing and budget part of the answers' identity: they change which candidates answer, and no answer.
    extra = config.scoring.model_dump(mode="json", include={"racing", "budget"}, exclude_none=True)
    if config.decoding.learns_limit:  # a run of its own: its base has answered more
        extra["max_tokens"] = config.decoding.max_tokens
    return RunPlan(
        config=config,
        base=base,
        engine=spec,
        problem=problem,
        judge=judge,
        splits=splits,
        scored=scored,
        template=template,
        sampling=sampling,
        blocks=blocks,
        identity=identity,
        fingerprint=answers,
        judgement=judgement,
        verdicts=verdicts,
        run_id=run_id(config.name, answers, verdicts, population, config.selection.model_dump(mode="json"), extra),
        home=Home(config.storage.home),
        wordings=wordings,
        dropped=prompts.dropped,
        warnings=prompts.warnings,
    )


def _max_tokens(config: RunConfig, own: Sampling, limit: int | None) -> int:
    configured = config.decoding.max_tokens
    if configured == "learned":
        if limit is None:
            raise RunError("decoding.max_tokens is learned, and this was planned before anything was learned")
        return limit
    return configured or own.max_tokens


def _wordings(
    config: RunConfig, model: Path, problem: Problem, splits: Splits, template: Template, sampling: Sampling
) -> Wordings | None:
    """Return the wordings to try, less those with a prompt that the model has no room for; None if there are none."""
    if not config.controls.best_prompt:
        return None
    wordings = plan_wordings(problem, config.single_problem, config.controls.prompts)
    if wordings is None:
        return None
    room = kind_of(model).context_length(model, trust_remote_code=config.engine.trust_remote_code)
    if room is None:
        return wordings
    examples: list[Example] = [*splits.validation.examples, *splits.test.examples]
    return leave_out_too_long(wordings, examples, template, room - sampling.max_tokens)


def _max_length(prompts: PromptPlan, blocks: Iterable[Block], sampling: Sampling) -> int:
    """Return the most tokens of a prompt and its answer, rounded up.

    vLLM's answers may depend on it, so it is part of the identity there. Rounded, because the prompts of a control
    should not change it: one that is turned on later would make another run, with nothing scored yet. (It still does
    where the longest of its prompts lies beyond a multiple that the run's own prompts do not reach.)
    """
    reworded = [prompt for block in blocks for worded in block.rewordings.values() for prompt in worded]
    longest = max(*(each.longest for each in prompts.splits), *prompts.template.lengths(reworded), 0)
    return -(-(longest + sampling.max_tokens) // _LENGTH_STEP) * _LENGTH_STEP


def count_respondents(plan: RunPlan) -> dict[str, int]:
    """Count the respondents per split, at most: methods agree on many experts, and racing drops candidates.

    The test split is counted at the largest K, controls included.
    """
    config, wordings = plan.config, plan.wordings
    most_experts = config.selection.k_values[-1]
    controls, methods = config.controls, config.selection.methods
    samples = controls.self_consistency and not chooses(plan.problem)
    n_panels = samples + controls.random_experts + bool(wordings and samples)
    n_tried = min(len(methods) * most_experts, config.population.size)
    merge, k_values = config.merge, config.selection.k_values
    n_merges = n_trials(merge.directions, len(merge.k or k_values), len(merge.radii)) if merge else 0
    n_single = controls.weight_average + bool(wordings) + bool(n_merges)
    best_apart = methods != ("top_k",)  # the best single expert need not vote, unless it is the top of K
    return {
        "selection": config.population.size + 1,
        "validation": n_tried + 1 + (len(wordings.others) if wordings else 0) + n_merges,
        "test": (1 + n_panels) * most_experts + 1 + best_apart + n_single,
    }


def answers_after_selection(plan: RunPlan) -> int:
    """Count the answers on the validation and test splits, at most."""
    n_respondents = count_respondents(plan)
    return sum(n_respondents[split.name] * len(split.examples) for split in plan.splits if split.name != "selection")


def own_limit(config: RunConfig) -> RunConfig:
    """Return the configuration with the problem's own limit, under which a limit is learned."""
    return config.model_copy(update={"decoding": config.decoding.model_copy(update={"max_tokens": None})})
