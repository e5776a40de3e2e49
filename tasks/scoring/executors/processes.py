"""Scores shards on several engines of this machine, each in a process of its own; a lost one is replaced.

On a CPU two engines of one thread generate more than one engine of two (docs/engines.md).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from thickets.tasks.scoring.executors.engine_process import EngineProcess
from thickets.tasks.scoring.executors.job import ScoringJob
from thickets.tasks.scoring.executors.log_lines import LogLine
from thickets.tasks.scoring.executors.messages import Ask, Failed, Generated, Ready, ShardDone, UnitDone
from thickets.tasks.scoring.executors.pool import EnginePool, PooledEngine, RemoteEngineError
from thickets.tasks.scoring.units import Shard, ShardReport, UnitReport
from thickets.tasks.scoring.worker import SHARDS_PER_ENGINE, START_WITHIN_S

_LOOK_EVERY_S = 0.5
_END_WITHIN_S = 5.0

# What the thread of an engine hands to the thread of a shard: a message about it, or the error it fails with.
_Answers = SimpleQueue[UnitDone | ShardDone | Failed | Exception]


@dataclass(slots=True)
class _Process(PooledEngine):
    """An engine in a process, with the shards it has been given and why we ended it, if we did.

    Its variables say which GPUs it sees; the process that replaces a lost one sees the same.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    process: EngineProcess | None = None
    shards: dict[int, _Answers] = field(default_factory=dict)
    why_ended: str | None = None


class ProcessExecutor:
    """The executor of one machine with room for more than one engine.

    A process is started for a shard that finds no engine, so that there are never more engines than shards under way,
    and gets shards only once its engine is built; until then the other engines score them.
    """

    def __init__(
        self,
        job: ScoringJob,
        *,
        replicas: int,
        unit_timeout_s: float,
        environments: Sequence[Mapping[str, str]] = (),
        on_unit: Callable[[UnitReport], None] = lambda report: None,
        patience_s: float = START_WITHIN_S,
    ) -> None:
        """Start nothing yet.

        Args:
            job: What the engines do; `job.engine.threads` says on how many threads each.
            replicas: Most engines.
            unit_timeout_s: How long an engine may be at one unit before it is replaced.
            environments: Variables of each engine's process besides ours, `[replicas]`; empty: none.
            on_unit: Called with every finished unit, from any thread.
            patience_s: How long to wait while no engine is ready before giving up.
        """
        self.n_engines = replicas
        self.slots = replicas * SHARDS_PER_ENGINE
        self._job = job
        self._unit_timeout_s = unit_timeout_s
        self._on_unit = on_unit
        engines = [_Process(environment=each) for each in environments or [{}] * replicas]
        self._pool = EnginePool(engines, patience_s, self._no_engine_message)
        self._patience_s = patience_s
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # guards every engine's process and shards
        self._threads: list[threading.Thread] = []

    def score(self, shard: Shard) -> ShardReport:
        """See `Executor.score`."""
        with self._pool.shard_under_way() as n_failed:
            self._start_engines()
            with self._pool.borrow(n_failed) as engine:
                return self._follow(engine, shard, self._ask(engine, shard))

    def cancel(self) -> None:
        """See `Executor.cancel`; the processes end at once, and with them what they are at."""
        self._pool.cancel()
        with self._lock:
            for engine in self._pool:
                if engine.process is not None:
                    engine.process.kill()

    def close(self) -> None:
        """See `Executor.close`."""
        self.cancel()
        for thread in self._threads:
            thread.join(_END_WITHIN_S)

    def _ask(self, engine: _Process, shard: Shard) -> _Answers:
        answers: _Answers = SimpleQueue()
        request = Ask(next(self._numbers), shard)
        with self._lock:
            if engine.process is None:  # it has ended since
                raise self._pool.lost(engine, "it has just ended")
            engine.shards[request.number] = answers
            engine.process.ask(request)
        return answers

    def _follow(self, engine: _Process, shard: Shard, answers: _Answers) -> ShardReport:
        """Handle the messages about a shard until it is done."""
        # A signals engine answers whole shards, so its first message comes when all units of one are done.
        at_once = len(shard.candidates) if self._job.engine.kind == "signals" else 1
        while True:
            try:
                message = answers.get(timeout=_LOOK_EVERY_S)
            except Empty:
                if (why := self._pool.overdue(engine, self._unit_timeout_s * at_once)) is not None:
                    self._end(engine, why)
                continue
            if isinstance(message, UnitDone):
                self._on_unit(message.report)
            elif isinstance(message, ShardDone):
                return message.report
            else:
                raise _error(engine.name, message) if isinstance(message, Failed) else message

    def _end(self, engine: _Process, why: str) -> None:
        with self._lock:
            if engine.process is not None and engine.why_ended is None:
                engine.why_ended = why
                engine.process.kill()

    def _start_engines(self) -> None:
        """Start the missing engines, each on a thread that reads its messages; in this context, for Prefect's log."""
        for engine in self._pool.engines_to_start():
            thread = threading.Thread(
                target=copy_context().run, args=(self._run, engine), name="engine-process", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _run(self, engine: _Process) -> None:
        """Start a process and handle its messages until it ends; on a thread of its own."""
        failure: Exception | None = None
        with self._lock:  # so that `cancel` finds the process
            if self._pool.is_cancelled:
                return
            try:
                process = engine.process = EngineProcess(self._job.engine.threads, engine.environment)
            except OSError as error:  # no memory or no number left for a process
                self._pool.failed(engine, RemoteEngineError(f"cannot start an engine's process: {error}"))
                return
            engine.why_ended = None
        for message in process.messages(self._job):
            if isinstance(message, LogLine):
                message.log()
            elif isinstance(message, Ready):
                self._pool.ready(engine, process.name, has_built=True)
            elif isinstance(message, Failed) and message.number is None:
                failure = _error(process.name, message)
            else:
                # A worker builds its engine anew after an error that is not one of ours.
                self._pool.sign_of_life(engine, has_built=not (isinstance(message, Failed) and message.error is None))
                if not isinstance(message, Generated):
                    self._pass_on(engine, message)
        how = process.wait()
        with self._lock:
            engine.process = None
            shards, engine.shards = engine.shards, {}
            why = engine.why_ended or how
        if engine.is_starting:
            self._pool.failed(engine, failure or RemoteEngineError(f"engine {process.name} did not start: {why}"))
            return
        loss = self._pool.lost(engine, why)
        for answers in shards.values():
            answers.put(loss)
        self._start_engines()  # for the shards that wait

    def _pass_on(self, engine: _Process, message: UnitDone | ShardDone | Failed) -> None:
        assert message.number is not None
        with self._lock:
            answers = (
                engine.shards[message.number] if isinstance(message, UnitDone) else engine.shards.pop(message.number)
            )
        answers.put(message)

    def _no_engine_message(self) -> str:
        return (
            f"none of {self.n_engines} engines on this machine has been there for {self._patience_s:.0f} s; what is "
            "scored is kept: run the same config again to go on, with lower engine.replicas if the machine is short of "
            "memory"
        )


def _error(name: str, message: Failed) -> Exception:
    """Return the exception to raise here for a failure in another process."""
    if message.error is not None:
        return message.error
    error = RemoteEngineError(f"engine {name}: {message.what}")
    error.add_note(message.where)
    return error
