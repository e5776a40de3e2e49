"""Keeps one engine busy: it generates on a thread of its own while shards are written and judged.

The engine's thread does nothing but load and generate. `ScoringWorker.score` makes text of the tokens, writes the
completions and then judges them, on its caller's thread; with two callers at a time the engine never waits for any of
it. What was generated is safe before a verifier sees it: where judging fails, another attempt judges the completions
that are there.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from thickets.storage.errors import OutOfMemoryError, RunError, ThicketsError
from thickets.storage.shards.folder import ShardFolder
from thickets.tasks.engines.base import BatchEngine, Engine, RebasableEngine
from thickets.tasks.problems.judging import Judge
from thickets.tasks.scoring.engine_thread import EngineThread
from thickets.tasks.scoring.unit_answers import UnitAnswers, answer
from thickets.tasks.scoring.units import (
    Block,
    Shard,
    ShardReport,
    UnitReport,
    prompts_of,
    sampling_of,
    verdict_rows,
    weights_of,
)
from thickets.tasks.types import Respondent, Sampling, Weights

# Shards that a worker gets at a time: one generates while the other is judged and written, or waits.
SHARDS_PER_ENGINE = 2
# How long an engine may take to be built, on top of any unit: vLLM with compilation took 2.5 minutes on two cores.
START_WITHIN_S = 600.0

_OUT_OF_MEMORY = (
    "the engine ran out of memory; lower engine.batch_size, or, with vllm on a GPU, lower engine.vllm.memory_fraction "
    "or set engine.base_copy to host"
)

T = TypeVar("T")

_CANCEL_POLL_S = 0.5
# How long `close` waits for the present unit of a cancelled worker; on a CPU one may take minutes.
_CLOSE_WITHIN_S = 3.0


@dataclass(slots=True)
class _Job:
    """One shard on the engine's thread; an engine that takes whole shards answers all units when the first comes up."""

    block: Block
    who: tuple[Respondent, ...]
    ahead: dict[int, UnitAnswers] = field(default_factory=dict)


class EngineHungError(RunError):
    """The engine of this process has exceeded its time, and a thread cannot be ended from outside."""


class ScoringWorker:
    """Scores shards with one engine, which is built when first needed and rebuilt after a failure.

    A plain object on purpose: Prefect walks through tuples and dataclasses given to a task, and would walk through
    every example at every shard.
    """

    def __init__(
        self,
        build: Callable[[], Engine],
        judge: Judge,
        blocks: Iterable[Block],
        sampling: Sampling,
        folder: ShardFolder,
        verdicts: ShardFolder,
        *,
        name: str = "local",
        unit_timeout_s: float = math.inf,
        on_unit: Callable[[UnitReport], None] = lambda report: None,
        on_generated: Callable[[], None] = lambda: None,
    ) -> None:
        """Build nothing yet.

        Args:
            build: Makes the engine, on the engine's thread.
            judge: Judges the answers.
            blocks: The examples with their prompts.
            sampling: Decoding.
            folder: Where shards go.
            verdicts: Where the verdicts on them go.
            name: The worker, for reports.
            unit_timeout_s: How long the engine may be at one unit before it is given up; infinite where the engine
                has a process of its own, which `ProcessExecutor` or `RayExecutor` ends.
            on_unit: Called with every unit of a finished shard, on the thread that scores it.
            on_generated: Called when a unit was generated, on the same thread; nothing of it is written yet.
        """
        self._build = build
        self._engine: Engine | None = None
        self._next_base: Path | None = None  # what the engine is to hold, if that is another base than it has
        self._start_s = 0.0  # of an engine that was built and has not reported it yet
        self._judge = judge
        self._blocks = {(block.split, block.index): block for block in blocks}
        self._sampling = sampling
        self._folder, self._verdicts = folder, verdicts
        self._name = name
        self._on_unit, self._on_generated = on_unit, on_generated
        self._unit_timeout_s = unit_timeout_s
        self._deadline = math.inf  # of the present call on the engine's thread, by the monotonic clock
        self._thread = EngineThread()
        # The respondents to come, so that the engine can make weights ahead; entries leave when their turn comes.
        self._queue: deque[tuple[Future[UnitAnswers], Respondent]] = deque()
        self._lock = threading.Lock()
        self._cancelled = False

    def start(self) -> None:
        """Build the engine now instead of at the first shard.

        Raises:
            Exception: What building it raised; the first shard will try again.
        """
        self._thread.submit(self._guarded, self._built).result()

    def score(self, shard: Shard) -> ShardReport:
        """Generate a shard, write its file, judge it and write the verdicts; several threads may call this at once.

        Raises:
            RunError: The worker was cancelled.
            EngineHungError: One unit has exceeded `unit_timeout_s`; this worker can score nothing more.
            Exception: Whatever the engine raised (the next unit gets a fresh engine), or a verifier.
        """
        # An earlier attempt may have been cut off between a file and its report, or between the two files.
        kept = self._folder.read(shard.id) if self._folder.holds(shard.id) else None
        if kept is not None:
            if not self._verdicts.holds(shard.id):
                self._write_verdicts(shard, kept)
            return ShardReport(shard.id, (), self._name)
        block = self._blocks[shard.split, shard.block]
        answers, answered = self._generate(shard, block)
        self._folder.write(shard.id, answered)
        verdicts = self._write_verdicts(shard, answered).iter_slices(len(block.examples))
        reports = tuple(
            each.report(who, block, rows) for who, rows, each in zip(shard.candidates, verdicts, answers, strict=True)
        )
        for report in reports:
            self._on_unit(report)
        return ShardReport(shard.id, reports, self._name)

    def turn_to(
        self, judge: Judge, blocks: Iterable[Block], sampling: Sampling, folder: ShardFolder, verdicts: ShardFolder
    ) -> None:
        """Score for another fingerprint from now on, with the present engine; no shard may be under way.

        Args:
            judge: Judges the answers.
            blocks: The examples with their prompts.
            sampling: Decoding.
            folder: Where shards go.
            verdicts: Where the verdicts on them go.
        """
        self._judge = judge
        self._blocks = {(block.split, block.index): block for block in blocks}
        self._sampling, self._folder, self._verdicts = sampling, folder, verdicts

    def rebase(self, build: Callable[[], Engine], model_path: Path) -> None:
        """Have another base from the next unit on; no shard may be under way.

        Args:
            build: Makes an engine of it, for where the present one cannot take it.
            model_path: The checkpoint.
        """
        self._build, self._next_base = build, model_path

    def cancel(self) -> None:
        """Generate nothing more: every queued and every later unit fails."""
        self._cancelled = True

    def close(self) -> None:
        """Close the engine after its present unit; a cancelled worker waits no more than `_CLOSE_WITHIN_S` for it."""
        patience_s = _CLOSE_WITHIN_S if self._cancelled else None
        self._cancelled = True
        dropped = self._thread.submit(self._drop_engine)
        self._thread.end()
        with contextlib.suppress(TimeoutError):
            dropped.result(patience_s)

    def _generate(self, shard: Shard, block: Block) -> tuple[list[UnitAnswers], pl.DataFrame]:
        """Return the answers of every candidate of a shard, and all of them as rows.

        A unit's text is made here, while the engine is at the next one.
        """
        futures = self._submit(shard.candidates, block)
        answers, frames = [], []
        try:
            for who, future in zip(shard.candidates, futures, strict=True):
                answers.append(self._wait(future))
                self._on_generated()
                frames.append(answers[-1].rows(who, block))
        finally:
            for future in futures:
                future.cancel()
        return answers, pl.concat(frames)

    def _write_verdicts(self, shard: Shard, answered: pl.DataFrame) -> pl.DataFrame:
        """Judge the completions of a shard, write the verdicts and return them."""
        examples = self._blocks[shard.split, shard.block].examples * len(shard.candidates)
        verdicts = verdict_rows(answered, examples, self._judge)
        self._verdicts.write(shard.id, verdicts)
        return verdicts

    def _submit(self, candidates: tuple[Respondent, ...], block: Block) -> list[Future[UnitAnswers]]:
        job = _Job(block, candidates)
        with self._lock:
            futures = []
            for place, candidate in enumerate(candidates):
                future = self._thread.submit(self._answer, job, place)
                self._queue.append((future, candidate))
                futures.append(future)
        return futures

    def _wait(self, future: Future[UnitAnswers]) -> UnitAnswers:
        """Wait for the answers of one unit; raise early if the worker is cancelled or the engine hangs."""
        while True:
            try:
                return future.result(_CANCEL_POLL_S)
            except TimeoutError:
                if future.done():  # it finished just now, or raised a TimeoutError of its own
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

    def _answer(self, job: _Job, place: int) -> UnitAnswers:
        """Answer one unit of a job; on the engine's thread."""
        upcoming = self._upcoming()
        if self._cancelled:
            raise RunError("scoring was cancelled")
        if place in job.ahead:
            return job.ahead.pop(place)
        return self._guarded(self._answer_now, job, place, upcoming)

    def _answer_now(self, job: _Job, place: int, upcoming: Weights | None) -> UnitAnswers:
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
        answers = answer(engine, prompts_of(who, block), sampling_of(who, block, self._sampling))
        return UnitAnswers(answers, start_s, loaded - began, time.perf_counter() - loaded)

    def _built(self) -> Engine:
        """Return the engine with its base, built if there is none; on its thread."""
        if self._engine is not None and self._next_base is None:
            return self._engine
        self._deadline = time.monotonic() + self._unit_timeout_s + START_WITHIN_S
        began = time.perf_counter()
        if self._next_base is not None and not (
            isinstance(self._engine, RebasableEngine) and self._engine.rebase(self._next_base)
        ):
            self._drop_engine()
        self._next_base = None
        if self._engine is None:
            self._engine = self._build()
        self._start_s = time.perf_counter() - began
        return self._engine

    def _guarded(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call `work`, and close the engine if that fails with an error that is not ours."""
        try:
            return work(*arguments)
        except ThicketsError:
            raise
        except BaseException as error:
            self._drop_engine()  # whatever state it is in, the next unit must not inherit it
            if _is_out_of_memory(error):
                # What the frames of half an engine hold would be in the way of the next one.
                traceback.clear_frames(error.__traceback__)
                raise OutOfMemoryError(_OUT_OF_MEMORY) from error
            raise
        finally:
            self._deadline = math.inf

    def _answer_all(self, engine: BatchEngine, job: _Job, start_s: float) -> dict[int, UnitAnswers]:
        """Answer every unit of a shard at once; each reports an equal share of the time."""
        n, started = len(job.who), time.perf_counter()
        [prompts] = {prompts_of(who, job.block) for who in job.who}  # batch engines know one wording
        engine.load_many([weights_of(who) for who in job.who])
        loaded = time.perf_counter()
        answers = engine.generate_many(prompts, [sampling_of(who, job.block, self._sampling) for who in job.who])
        load_s, generate_s = (loaded - started) / n, (time.perf_counter() - loaded) / n
        return {
            place: UnitAnswers(completions, 0.0 if place else start_s, load_s, generate_s)
            for place, completions in enumerate(answers)
        }

    def _upcoming(self) -> Weights | None:
        """Return the weights of the next respondent, or None for the base's."""
        with self._lock:
            while self._queue and (self._queue[0][0].running() or self._queue[0][0].done()):
                self._queue.popleft()
            return weights_of(self._queue[0][1]) if self._queue else None

    def _drop_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


def _is_out_of_memory(error: BaseException) -> bool:
    """True for GPU and for host memory; PyTorch has no class for the latter."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error)
