"""Several engines on this machine, each in a process of its own: no Ray, and a lost one is replaced.

On a CPU two engines of one thread generate more than one engine of two (docs/engines.md).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from thickets.tasks.scoring.executors.engine_process import EngineProcess
from thickets.tasks.scoring.executors.job import ScoringJob
from thickets.tasks.scoring.executors.messages import Ask, Failed, Ready, ShardDone, UnitDone
from thickets.tasks.scoring.executors.seats import RemoteEngineError, Seat, Seats
from thickets.tasks.scoring.units import Shard, ShardReport, UnitReport
from thickets.tasks.scoring.worker import SHARDS_PER_ENGINE, START_WITHIN_S

_LOOK_EVERY_S = 0.5
_GONE_WITHIN_S = 5.0

# What the thread of an engine hands to the thread of a shard: a message about it, or the error it fails with.
_Answers = SimpleQueue[UnitDone | ShardDone | Failed | Exception]


@dataclass(slots=True)
class _Seat(Seat):
    """One process, the shards it has been given, and why it was ended if we did it."""

    process: EngineProcess | None = None
    shards: dict[int, _Answers] = field(default_factory=dict)
    why_ended: str | None = None


class ProcessExecutor:
    """The executor of one machine with room for more than one engine.

    A process is started for a shard that finds no engine, so that there are never more engines than shards under way,
    and gets shards only once its engine is built: until then the others have them, and nothing waits for it.
    """

    def __init__(
        self,
        job: ScoringJob,
        *,
        replicas: int,
        unit_timeout_s: float,
        on_unit: Callable[[UnitReport], None] = lambda report: None,
        patience_s: float = START_WITHIN_S,
    ) -> None:
        """Start nothing yet.

        Args:
            job: What the engines do; `job.engine.threads` says on how many threads each.
            replicas: Most engines.
            unit_timeout_s: How long an engine may be at one unit before it is replaced.
            on_unit: Told of every finished unit, from any thread.
            patience_s: How long to go on without any engine before giving up.
        """
        self.n_engines = replicas
        self.slots = replicas * SHARDS_PER_ENGINE
        self._job = job
        self._unit_timeout_s = unit_timeout_s
        self._on_unit = on_unit
        self._seats = Seats([_Seat() for _ in range(replicas)], patience_s, self._nobody_left)
        self._patience_s = patience_s
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # guards every seat's process and shards
        self._keepers: list[threading.Thread] = []

    def score(self, shard: Shard) -> ShardReport:
        """See `Executor.score`."""
        with self._seats.asking() as before:
            self._call_engines()
            with self._seats.one(before) as seat:
                return self._follow(seat, shard, self._ask(seat, shard))

    def cancel(self) -> None:
        """See `Executor.cancel`; the processes end at once, and with them what they are at."""
        self._seats.cancel()
        with self._lock:
            for seat in self._seats:
                if seat.process is not None:
                    seat.process.kill()

    def close(self) -> None:
        """See `Executor.close`."""
        self.cancel()
        for keeper in self._keepers:
            keeper.join(_GONE_WITHIN_S)

    def _ask(self, seat: _Seat, shard: Shard) -> _Answers:
        answers: _Answers = SimpleQueue()
        asked = Ask(next(self._numbers), shard)
        with self._lock:
            if seat.process is None:  # it has ended since
                raise self._seats.lost(seat, "it has just ended")
            seat.shards[asked.number] = answers
            seat.process.ask(asked)
        return answers

    def _follow(self, seat: _Seat, shard: Shard, answers: _Answers) -> ShardReport:
        """Pass on what is said about a shard until it is done."""
        # An engine that takes whole shards says nothing before all of one is answered.
        at_once = len(shard.candidates) if self._job.engine.kind == "signals" else 1
        while True:
            try:
                said = answers.get(timeout=_LOOK_EVERY_S)
            except Empty:
                if (why := self._seats.overdue(seat, self._unit_timeout_s * at_once)) is not None:
                    self._end(seat, why)
                continue
            if isinstance(said, UnitDone):
                self._on_unit(said.report)
            elif isinstance(said, ShardDone):
                return said.report
            else:
                raise _error(seat.name, said) if isinstance(said, Failed) else said

    def _end(self, seat: _Seat, why: str) -> None:
        with self._lock:
            if seat.process is not None and seat.why_ended is None:
                seat.why_ended = why
                seat.process.kill()

    def _call_engines(self) -> None:
        """Start what is missing, each on a thread that hears it out; in this context, for Prefect's log."""
        for seat in self._seats.call():
            keeper = threading.Thread(
                target=copy_context().run, args=(self._keep, seat), name="engine-process", daemon=True
            )
            self._keepers.append(keeper)
            keeper.start()

    def _keep(self, seat: _Seat) -> None:
        """Start a process, and attend to what it says until it ends; on a thread of its own."""
        failure: Exception | None = None
        with self._lock:  # so that a pool that is cancelled knows of it
            if self._seats.is_cancelled:
                return
            try:
                process = seat.process = EngineProcess(self._job.engine.threads)
            except OSError as error:  # no memory or no number left for a process
                self._seats.did_not_come(seat, RemoteEngineError(f"cannot start an engine's process: {error}"))
                return
            seat.why_ended = None
        for said in process.messages(self._job):
            if isinstance(said, Ready):
                self._seats.arrived(seat, process.name, has_built=True)
            elif isinstance(said, Failed) and said.number is None:
                failure = _error(process.name, said)
            else:
                # A worker builds its engine anew after an error that is not one of ours.
                self._seats.heard(seat, has_built=not (isinstance(said, Failed) and said.error is None))
                self._pass_on(seat, said)
        how = process.wait()
        with self._lock:
            seat.process = None
            shards, seat.shards = seat.shards, {}
            why = seat.why_ended or how
        if seat.is_coming:
            self._seats.did_not_come(seat, failure or RemoteEngineError(f"engine {process.name} did not start: {why}"))
            return
        loss = self._seats.lost(seat, why)
        for answers in shards.values():
            answers.put(loss)
        self._call_engines()  # for the shards that wait

    def _pass_on(self, seat: _Seat, said: UnitDone | ShardDone | Failed) -> None:
        assert said.number is not None
        with self._lock:
            answers = seat.shards[said.number] if isinstance(said, UnitDone) else seat.shards.pop(said.number)
        answers.put(said)

    def _nobody_left(self) -> str:
        return (
            f"none of {self.n_engines} engines on this machine has been there for {self._patience_s:.0f} s; what is "
            "scored is kept: run the same config again to go on, with lower engine.replicas if the machine is short of "
            "memory"
        )


def _error(name: str, said: Failed) -> Exception:
    """What a failure in another process is here."""
    if said.error is not None:
        return said.error
    error = RemoteEngineError(f"engine {name}: {said.what}")
    error.add_note(said.where)
    return error
