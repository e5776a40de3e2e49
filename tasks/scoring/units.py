"""The units of scoring: blocks of examples, shards of candidates on a block, and their answers and verdicts as rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from thickets.storage.errors import RunError
from thickets.storage.scores.database import BASE_ID
from thickets.storage.shards.file import SHARD_SCHEMA, VERDICT_SCHEMA
from thickets.tasks.engines.prompts import Template
from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.labelled import labels_of
from thickets.tasks.problems.splits import Split
from thickets.tasks.types import (
    Attempt,
    Average,
    Candidate,
    Completion,
    Example,
    Labels,
    Prompt,
    Respondent,
    Reworded,
    Sampling,
    Weights,
)


@dataclass(frozen=True, slots=True)
class Block:
    """Examples that are always generated together, in this order (docs/design.md#shards).

    Attributes:
        split: Name of the split.
        index: Position of the block in its split.
        examples: The examples.
        prompts: Their rendered prompts, one each.
        rewordings: The prompts in every other wording that a respondent may need, by the text of its instruction.
        labels: The answers to choose from by likelihood, under every wording; None: answers are generated.
    """

    split: str
    index: int
    examples: tuple[Example, ...]
    prompts: tuple[Prompt, ...]
    rewordings: Mapping[str, tuple[Prompt, ...]] = field(default_factory=dict)
    labels: Labels | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """A block of candidates on a block of examples: one task, one file.

    Attributes:
        split: Name of the split.
        block: Index of the block of examples.
        candidates: The respondents that answer.
    """

    split: str
    block: int
    candidates: tuple[Respondent, ...]

    @property
    def id(self) -> str:
        """File name of the shard; equal shards of different runs have equal names and equal content."""
        ids = ",".join(map(candidate_id, self.candidates))
        return f"{self.split}-{self.block:04d}-{hashlib.sha256(ids.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class UnitReport:
    """Counts and times of one respondent on one block, for progress and cost.

    Attributes:
        candidate_id: Of the respondent.
        split: Name of the split.
        n_correct: Correct answers.
        n: Answers.
        n_tokens: Tokens generated.
        load_s: Seconds to load the candidate.
        generate_s: Seconds to answer.
        start_s: Seconds to build the engine, if this unit was the first to need it.
    """

    candidate_id: str
    split: str
    n_correct: int
    n: int
    n_tokens: int
    load_s: float
    generate_s: float
    start_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ShardReport:
    """The result of scoring a shard.

    Attributes:
        shard_id: Names the shard's file.
        units: The units scored for it; empty if an earlier attempt had written the file.
        worker: Name of the engine's worker: ``"local"``, or host and process.
    """

    shard_id: str
    units: tuple[UnitReport, ...]
    worker: str = "local"


def candidate_id(who: Respondent) -> str:
    """Return the name under which a respondent's scores are kept."""
    return BASE_ID if who is None else who.id


def weights_of(who: Respondent) -> Weights | None:
    """Return what an engine loads for a respondent; None is the base."""
    return who if isinstance(who, Candidate | Average) else None


def prompts_of(who: Respondent, block: Block) -> tuple[Prompt, ...]:
    """Return the block's prompts in the respondent's wording.

    Raises:
        RunError: The block was made without that wording.
    """
    instruction = who.instruction if isinstance(who, Attempt | Reworded) else None
    if instruction is None:
        return block.prompts
    if instruction not in block.rewordings:
        raise RunError(f"block {block.index} of the {block.split} split has no prompts worded {instruction!r}")
    return block.rewordings[instruction]


def sampling_of(who: Respondent, block: Block, sampling: Sampling) -> Sampling:
    """Return the run's sampling, or for an `Attempt` its temperature and a seed for this attempt and block.

    Where answers are chosen from labels there is nothing to draw, and every attempt is the base's own answer.
    """
    if block.labels is not None:
        return replace(sampling, labels=block.labels)
    if not isinstance(who, Attempt):
        return sampling
    unit = f"thickets attempt 1:{who.seed}:{who.index}:{block.split}:{block.index}"
    if who.instruction is not None:
        unit += f":{who.instruction}"
    seed = int.from_bytes(hashlib.blake2b(unit.encode(), digest_size=8).digest(), "little")
    return replace(sampling, temperature=who.temperature, seed=seed)


def make_blocks(
    split: Split,
    problem: Problem,
    template: Template,
    size: int,
    rewordings: Mapping[str, Problem] | None = None,
    prompts: Sequence[Prompt] | None = None,
) -> list[Block]:
    """Cut a split into blocks of `size` examples and render their prompts.

    Args:
        split: The split.
        problem: Turns examples into messages.
        template: Renders messages as prompts.
        size: Most examples per block.
        rewordings: The problem in other words, by its instruction.
        prompts: The prompts of the whole split, if they are rendered already.
    """

    def rendered(wording: Problem, examples: Iterable[Example]) -> tuple[Prompt, ...]:
        return tuple(template.render(wording.messages(example)) for example in examples)

    return [
        Block(
            split.name,
            index,
            examples,
            rendered(problem, examples) if prompts is None else tuple(prompts[index * size : (index + 1) * size]),
            {words: rendered(wording, examples) for words, wording in (rewordings or {}).items()},
            labels_of(problem, template, examples),
        )
        for index, examples in enumerate(
            split.examples[start : start + size] for start in range(0, len(split.examples), size)
        )
    ]


def plan_shards(
    split: str,
    n_blocks: int,
    candidates: Sequence[Respondent],
    done: Iterable[tuple[str, str, int]],
    candidates_per_shard: int,
    blocks: Iterable[int] | None = None,
) -> list[Shard]:
    """Cut the units that are left to score into shards.

    Args:
        split: Name of the split.
        n_blocks: Number of blocks the split is cut into.
        candidates: The respondents, in order.
        done: Finished units: candidate_id, split, block.
        candidates_per_shard: Most candidates per shard; may differ from what finished shards were written with.
        blocks: Indices of the blocks to score now; None: all.

    Returns:
        Shards without any finished unit, candidates first: all blocks of a group before the next group.
    """
    finished = {(candidate, block) for candidate, of_split, block in done if of_split == split}
    indices = range(n_blocks) if blocks is None else tuple(blocks)
    shards = []
    for start in range(0, len(candidates), candidates_per_shard):
        group = candidates[start : start + candidates_per_shard]
        for block in indices:
            pending = tuple(c for c in group if (candidate_id(c), block) not in finished)
            if pending:
                shards.append(Shard(split, block, pending))
    return shards


def shrink_towards_end(shards: Iterable[Shard], slots: int) -> list[Shard]:
    """Cut the last shards of a stage smaller, so that its engines end together.

    None has more units than an equal share of those left for each of the shards that are under way at a time: far from
    the end that changes nothing, at the end each has one. What a unit answers does not depend on its shard.

    Args:
        shards: Of one stage, in the order in which they start.
        slots: How many are under way at a time.

    Returns:
        The same units in the same order.
    """
    shards = tuple(shards)
    n_left = sum(len(shard.candidates) for shard in shards)
    found: list[Shard] = []
    for shard in shards:
        rest = shard.candidates
        while rest:
            size = -(-n_left // slots)
            found.append(replace(shard, candidates=rest[:size]))
            n_left -= len(found[-1].candidates)
            rest = rest[size:]
    return found


def completion_rows(who: str, block: Block, completions: Sequence[Completion]) -> pl.DataFrame:
    """Return the completions of one unit as a shard keeps them.

    Returns:
        Rows as in `thickets.storage.shards.file.SHARD_SCHEMA`, one per example and in their order.
    """
    n = len(block.examples)
    return pl.DataFrame(
        {
            "candidate_id": [who] * n,
            "split": [block.split] * n,
            "block": [block.index] * n,
            "example_id": [example.id for example in block.examples],
            "n_tokens": [completion.n_tokens for completion in completions],
            "finish_reason": [completion.finish_reason for completion in completions],
            "completion": [completion.text for completion in completions],
        },
        schema=SHARD_SCHEMA,
    )


def verdict_rows(answered: pl.DataFrame, examples: Sequence[Example], judge: Judge) -> pl.DataFrame:
    """Judge rows of completions; an answer that cannot be extracted is an abstention, and wrong.

    Args:
        answered: Rows of a shard.
        examples: The questions that they answer, one per row.
        judge: Judges them.

    Returns:
        Rows as in `thickets.storage.shards.file.VERDICT_SCHEMA`, one per row and in their order.
    """
    verdicts = judge.judge(answered["completion"].to_list(), examples)
    return answered.with_columns(
        score=pl.Series([verdict.score for verdict in verdicts], dtype=pl.UInt16),
        correct=pl.Series([verdict.correct for verdict in verdicts], dtype=pl.Boolean),
        answer=pl.Series([verdict.answer for verdict in verdicts], dtype=pl.String),
    ).select(VERDICT_SCHEMA.names())


def judged(who: str, block: Block, completions: Sequence[Completion], judge: Judge) -> pl.DataFrame:
    """Return the verdicts on one unit that no shard keeps, with the completions."""
    answered = completion_rows(who, block, completions)
    return verdict_rows(answered, block.examples, judge).with_columns(answered["completion"])
