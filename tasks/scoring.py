"""Batched scoring: every candidate answers every block of examples, and each shard is durable when its task ends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import ThicketsError
from storage.scores import BASE_ID
from storage.shards import SHARD_SCHEMA, write_shard
from tasks.engines.base import Engine
from tasks.problems.base import Problem
from tasks.prompts import PromptTemplate
from tasks.splits import Split
from tasks.types import Candidate, Completion, Example, Sampling


@dataclass(frozen=True, slots=True)
class Block:
    """Examples that are always generated together, in this order (DESIGN.md section 6).

    Attributes:
        split: Name of the split.
        index: Position of the block in its split.
        examples: The examples.
        prompts: Their rendered prompts, one each.
    """

    split: str
    index: int
    examples: tuple[Example, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shard:
    """A block of candidates on a block of examples: one task, one file.

    Attributes:
        split: Name of the split.
        block: Index of the block of examples.
        candidates: Who answers; None is the base.
    """

    split: str
    block: int
    candidates: tuple[Candidate | None, ...]

    @property
    def id(self) -> str:
        """File name of the shard; equal shards of different runs have equal names and equal content."""
        ids = ",".join(map(candidate_id, self.candidates))
        return f"{self.split}-{self.block:04d}-{hashlib.sha256(ids.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What one candidate did on one block, for progress and cost.

    Attributes:
        candidate_id: Who.
        split: Where.
        n_correct: Correct answers.
        n: Answers.
        n_tokens: Tokens generated.
        load_s: Seconds to become the candidate.
        generate_s: Seconds to answer.
    """

    candidate_id: str
    split: str
    n_correct: int
    n: int
    n_tokens: int
    load_s: float
    generate_s: float


def candidate_id(candidate: Candidate | None) -> str:
    """Name under which a candidate's scores are kept."""
    return BASE_ID if candidate is None else candidate.id


def make_blocks(split: Split, problem: Problem, template: PromptTemplate, size: int) -> list[Block]:
    """Cut a split into blocks of `size` examples and render their prompts."""
    return [
        Block(
            split.name,
            index,
            examples,
            tuple(template.render(problem.messages(example)) for example in examples),
        )
        for index, examples in enumerate(
            split.examples[start : start + size] for start in range(0, len(split.examples), size)
        )
    ]


def plan_shards(
    split: str,
    n_blocks: int,
    candidates: Sequence[Candidate | None],
    done: Iterable[tuple[str, str, int]],
    candidates_per_shard: int,
) -> list[Shard]:
    """What is left to score.

    Args:
        split: Name of the split.
        n_blocks: Number of blocks the split is cut into.
        candidates: Who is asked, in order.
        done: Finished units: candidate_id, split, block.
        candidates_per_shard: Most candidates per shard; may differ from what finished shards were written with.

    Returns:
        Shards without any finished unit, candidates first: all blocks of a group before the next group.
    """
    finished = {(candidate, block) for candidate, of_split, block in done if of_split == split}
    shards = []
    for start in range(0, len(candidates), candidates_per_shard):
        group = candidates[start : start + candidates_per_shard]
        for block in range(n_blocks):
            pending = tuple(c for c in group if (candidate_id(c), block) not in finished)
            if pending:
                shards.append(Shard(split, block, pending))
    return shards


def score_unit(
    engine: Engine, candidate: Candidate | None, block: Block, problem: Problem, sampling: Sampling
) -> tuple[pl.DataFrame, UnitReport]:
    """Score one candidate on one block.

    Returns:
        Rows as in `storage.shards.SHARD_SCHEMA`, one per example and in their order, and what it took.
    """
    started = time.perf_counter()
    engine.load(candidate)
    loaded = time.perf_counter()
    completions = engine.generate(block.prompts, sampling)
    generated = time.perf_counter()
    frame = judge(candidate_id(candidate), block, completions, problem)
    report = UnitReport(
        candidate_id=candidate_id(candidate),
        split=block.split,
        n_correct=int(frame["correct"].sum()),
        n=frame.height,
        n_tokens=sum(completion.n_tokens for completion in completions),
        load_s=loaded - started,
        generate_s=generated - loaded,
    )
    return frame, report


def judge(who: str, block: Block, completions: Sequence[Completion], problem: Problem) -> pl.DataFrame:
    """Extract and verify the answers of one unit; an answer that cannot be extracted is an abstention, and wrong."""
    answers = [
        problem.extract(completion.text, example)
        for completion, example in zip(completions, block.examples, strict=True)
    ]
    return pl.DataFrame(
        {
            "candidate_id": [who] * len(answers),
            "split": [block.split] * len(answers),
            "block": [block.index] * len(answers),
            "example_id": [example.id for example in block.examples],
            "correct": [
                answer is not None and problem.verify(answer, example)
                for answer, example in zip(answers, block.examples, strict=True)
            ],
            "answer": answers,
            "n_tokens": [completion.n_tokens for completion in completions],
            "finish_reason": [completion.finish_reason for completion in completions],
            "completion": [completion.text for completion in completions],
        },
        schema=SHARD_SCHEMA,
    )


class ScoringSession:
    """What every shard of a run needs: one resident engine, the problem, the blocks, and where shards go.

    A plain object on purpose: Prefect walks through tuples and dataclasses given to a task, and would walk through
    every example at every shard.
    """

    def __init__(
        self,
        build: Callable[[], Engine],
        problem: Problem,
        blocks: Iterable[Block],
        sampling: Sampling,
        folder: Path,
        on_unit: Callable[[UnitReport], None] = lambda report: None,
    ) -> None:
        self._build = build
        self._engine: Engine | None = None
        self._problem = problem
        self._blocks = {(block.split, block.index): block for block in blocks}
        self._sampling = sampling
        self._on_unit = on_unit
        self.folder = folder

    def score(self, shard: Shard) -> Path:
        """Score a shard and write its file; the engine starts on the first call and stays."""
        if self._engine is None:
            self._engine = self._build()
        block = self._blocks[shard.split, shard.block]
        frames = []
        for candidate in shard.candidates:
            frame, report = score_unit(self._engine, candidate, block, self._problem, self._sampling)
            frames.append(frame)
            self._on_unit(report)
        return write_shard(self.folder, shard.id, pl.concat(frames))

    def drop_engine(self) -> None:
        """Let go of the engine; the next shard starts a fresh one."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


def is_worth_a_retry(task: Any, task_run: Any, state: Any) -> bool:
    """Prefect's retry condition: our own errors are about input or data and come again; engine faults may not."""
    return not isinstance(state.result(raise_on_failure=False), ThicketsError)


@task(
    name="score-shard",
    task_run_name="score-{shard.id}",
    retry_condition_fn=is_worth_a_retry,
    retry_delay_seconds=[1, 10, 60],
    retry_jitter_factor=0.5,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def score_shard(session: ScoringSession, shard: Shard) -> Path:
    """Score one shard, on a fresh engine if the last attempt broke the old one.

    Returns:
        The path of the shard's Parquet file.
    """
    try:
        return session.score(shard)
    except BaseException:
        session.drop_engine()  # whatever state it is in, the next attempt must not inherit it
        raise
