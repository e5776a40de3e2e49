"""One resident engine kept busy: it generates on a thread of its own while answers are judged and shards written.

The engine's thread does nothing but load and generate. Whoever calls `ScoringWorker.score` judges the answers as they
come, on the caller's thread, and writes the file; with two callers at a time the engine never waits for either.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import polars as pl

from thickets.storage.errors import OutOfMemoryError, RunError, ThicketsError
from thickets.storage.shards.folder import ShardFolder
from thickets.tasks.engines.base import BatchEngine, Engine
from thickets.tasks.problems.base import Problem
from thickets.tasks.scoring.engine_thread import EngineThread
from thickets.tasks.scoring.units import (
    Block,
    Shard,
    ShardReport,
    UnitReport,
    candidate_id,
    judge,
    prompts_of,
    sampling_of,
    weights_of,
)
from thickets.tasks.types import Completion, Respondent, Sampling, Weights

# Shards to hand to one worker at a time: one generates, the other is judged and written, or waits its turn.
SHARDS_PER_ENGINE = 2
# How long an engine may take to be built, on top of any unit: vLLM with compilation took 2.5 minutes on two cores.
START_WITHIN_S = 600.0

T = TypeVar("T")

_CANCEL_POLL_S = 0.5
# How long `close` waits for the unit that a cancelled engine is at; on a CPU one may take minutes.
_CLOSE_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True)
class _Answers:
    """What the engine's thread hands back for one unit."""

    completions: list[Completion]
    start_s: float
    load_s: float
    generate_s: float


@dataclass(slots=True)
class _Job:
    """One shard on the engine's thread; an engine that takes whole shards answers all units when the first comes up."""

    block: Block
    who: tuple[Respondent, ...]
    ahead: dict[int, _Answers] = field(default_factory=dict)


class EngineHungError(RunError):
    """The engine of this process shows no sign of life, and a thread cannot be ended from outside."""


class ScoringWorker:
    """Scores shards with one engine, which is built when first needed and rebuilt after a failure.

    A plain object on purpose: Prefect walks through tuples and dataclasses given to a task, and would walk through
    every example at every shard.
    """

    def __init__(
        self,
        build: Callable[[], Engine],
        problem: Problem,
        blocks: Iterable[Block],
        sampling: Sampling,
        folder: ShardFolder,
        *,
        name: str = "local",
        unit_timeout_s: float = math.inf,
        on_unit: Callable[[UnitReport], None] = lambda report: None,
    ) -> None:
        """Build nothing yet.

        Args:
            build: Makes the engine, on the engine's thread.
            problem: Judges the answers.
            blocks: The examples with their prompts.
            sampling: Decoding.
            folder: Where shards go.
            name: The worker, for reports.
            unit_timeout_s: How long the engine may be at one unit before it is given up; where the engine is in a
                process of its own, that is for whoever can end the process.
            on_unit: Told of every finished unit, from any thread.
        """
        self._build = build
        self._engine: Engine | None = None
        self._start_s = 0.0  # of an engine that was built and has not reported it yet
        self._problem = problem
        self._blocks = {(block.split, block.index): block for block in blocks}
        self._sampling = sampling
        self._folder = folder
        self._name = name
        self._on_unit = on_unit
        self._unit_timeout_s = unit_timeout_s
        self._deadline = math.inf  # for what the engine's thread is at, by the monotonic clock
        self._thread = EngineThread()
        # Who comes next, so that the engine can make the weights ahead; entries leave when their turn comes.
        self._queue: deque[tuple[Future[_Answers], Respondent]] = deque()
        self._lock = threading.Lock()
        self._cancelled = False

    def start(self) -> None:
        """Build the engine now instead of at the first shard.

        Raises:
            Exception: What building it raised; the first shard will try again.
        """
        self._thread.submit(self._guarded, self._built).result()

    def score(self, shard: Shard) -> ShardReport:
        """Score a shard and write its file; several threads may call this at once.

        Raises:
            RunError: The worker was cancelled.
            EngineHungError: The engine is at one unit for longer than it may be; nothing can be scored any more.
            Exception: Whatever the engine raised; the next unit gets a fresh engine.
        """
        if self._folder.holds(shard.id):  # an earlier attempt was cut off between the file and its report
            return ShardReport(shard.id, (), self._name)
        block = self._blocks[shard.split, shard.block]
        asked = self._ask(shard.candidates, block)
        frames, reports = [], []
        try:
            for candidate, future in zip(shard.candidates, asked, strict=True):
                answers = self._wait(future)
                frame = judge(candidate_id(candidate), block, answers.completions, self._problem)
                frames.append(frame)
                reports.append(_report(candidate, block, frame, answers))
                self._on_unit(reports[-1])
        finally:
            for future in asked:
                future.cancel()
        self._folder.write(shard.id, pl.concat(frames))
        return ShardReport(shard.id, tuple(reports), self._name)

    def turn_to(self, blocks: Iterable[Block], sampling: Sampling, folder: ShardFolder) -> None:
        """Score for another fingerprint from now on, with the engine that is there; no shard may be under way.

        Args:
            blocks: The examples with their prompts.
            sampling: Decoding.
            folder: Where shards go.
        """
        self._blocks = {(block.split, block.index): block for block in blocks}
        self._sampling, self._folder = sampling, folder

    def cancel(self) -> None:
        """Generate nothing more: what is queued fails, and so does whatever comes later."""
        self._cancelled = True

    def close(self) -> None:
        """Let go of the engine; that of a cancelled worker goes after the unit it is at, which is not waited for."""
        patience_s = _CLOSE_WITHIN_S if self._cancelled else None
        self._cancelled = True
        dropped = self._thread.submit(self._drop_engine)
        self._thread.end()
        with contextlib.suppress(TimeoutError):
            dropped.result(patience_s)

    def _ask(self, candidates: tuple[Respondent, ...], block: Block) -> list[Future[_Answers]]:
        job = _Job(block, candidates)
        with self._lock:
            asked = []
            for place, candidate in enumerate(candidates):
                future = self._thread.submit(self._answer, job, place)
                self._queue.append((future, candidate))
                asked.append(future)
        return asked

    def _wait(self, future: Future[_Answers]) -> _Answers:
        """The answers of one unit; a cancelled worker's callers need not wait for them, nor those of a hung engine."""
        while True:
            try:
                return future.result(_CANCEL_POLL_S)
            except TimeoutError:
                if future.done():  # just now, or with a time-out of the engine's own
                    return future.result()
                if self._cancelled:
                    raise RunError("scoring was cancelled") from None
                if time.monotonic() > self._deadline:
                    self._thread.give_up()
                    raise EngineHungError(
                        f"the engine has not finished what it is at within {self._unit_timeout_s:.0f} s "
                        "(scoring.unit_timeout_s; 10 minutes more if it was being built), and nothing can end it but "
                        "the end of this process; every finished shard is kept: run the same config again to go on, "
                        "with a higher scoring.unit_timeout_s if it was only slow, or with engine.replicas: 1, a "
                        "process of its own, which is replaced when it hangs"
                    ) from None

    def _answer(self, job: _Job, place: int) -> _Answers:
        """Load and generate; on the engine's thread."""
        upcoming = self._upcoming()
        if self._cancelled:
            raise RunError("scoring was cancelled")
        if place in job.ahead:
            return job.ahead.pop(place)
        return self._guarded(self._answer_now, job, place, upcoming)

    def _answer_now(self, job: _Job, place: int, upcoming: Weights | None) -> _Answers:
        who, block = job.who[place], job.block
        engine = self._built()
        start_s, self._start_s = self._start_s, 0.0
        is_batch = isinstance(engine, BatchEngine)
        self._deadline = time.monotonic() + self._unit_timeout_s * (len(job.who) if is_batch else 1)
        if isinstance(engine, BatchEngine):
            job.ahead = self._answer_all(engine, job, start_s)
            return job.ahead.pop(place)
        began = time.perf_counter()
        engine.load(weights_of(who))
        loaded = time.perf_counter()
        if upcoming is not None:
            engine.prepare(upcoming)
        completions = engine.generate(prompts_of(who, block), sampling_of(who, block, self._sampling))
        return _Answers(completions, start_s, loaded - began, time.perf_counter() - loaded)

    def _built(self) -> Engine:
        """The engine, built if there is none; on its thread."""
        if self._engine is None:
            self._deadline = time.monotonic() + self._unit_timeout_s + START_WITHIN_S
            began = time.perf_counter()
            self._engine = self._build()
            self._start_s = time.perf_counter() - began
        return self._engine

    def _guarded(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do something with the engine, and let go of one that has failed."""
        try:
            return work(*arguments)
        except ThicketsError:
            raise
        except BaseException as error:
            self._drop_engine()  # whatever state it is in, the next unit must not inherit it
            if _is_out_of_memory(error):
                raise OutOfMemoryError("the engine ran out of memory; lower engine.batch_size") from error
            raise
        finally:
            self._deadline = math.inf

    def _answer_all(self, engine: BatchEngine, job: _Job, start_s: float) -> dict[int, _Answers]:
        """Every unit of a shard at once; the time is shared out evenly."""
        n, started = len(job.who), time.perf_counter()
        [prompts] = {prompts_of(who, job.block) for who in job.who}  # what such a model is asked has one wording
        engine.load_many([weights_of(who) for who in job.who])
        loaded = time.perf_counter()
        answers = engine.generate_many(prompts, [sampling_of(who, job.block, self._sampling) for who in job.who])
        load_s, generate_s = (loaded - started) / n, (time.perf_counter() - loaded) / n
        return {
            place: _Answers(completions, 0.0 if place else start_s, load_s, generate_s)
            for place, completions in enumerate(answers)
        }

    def _upcoming(self) -> Weights | None:
        """The weights of the respondent whose turn is next, if they are not the base's."""
        with self._lock:
            while self._queue and (self._queue[0][0].running() or self._queue[0][0].done()):
                self._queue.popleft()
            return weights_of(self._queue[0][1]) if self._queue else None

    def _drop_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


def _is_out_of_memory(error: BaseException) -> bool:
    """Say so of a GPU's memory and of the machine's; PyTorch has no class for the latter."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error)


def _report(who: Respondent, block: Block, frame: pl.DataFrame, answers: _Answers) -> UnitReport:
    return UnitReport(
        candidate_id=candidate_id(who),
        split=block.split,
        n_correct=int(frame["correct"].sum()),
        n=frame.height,
        n_tokens=int(frame["n_tokens"].sum()),
        load_s=answers.load_s,
        generate_s=answers.generate_s,
        start_s=answers.start_s,
    )
