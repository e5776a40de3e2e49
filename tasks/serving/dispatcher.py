"""Owns one engine on one thread: collects questions that arrive together, and walks the experts once for each batch.

Whatever happens to the engine, every question gets an outcome or an error, once; and what is wrong with one question is
that question's error. Only the loss of the engine takes the questions of one call along: which of them it was cannot be
told.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, replace
from typing import Literal

from thickets.storage.errors import InputError, RunError, ThicketsError, TransientError
from thickets.tasks.engines.base import Engine
from thickets.tasks.problems.judging import Judge
from thickets.tasks.serving.questions import EngineLostError, Outcome, Question, UnjudgedError
from thickets.tasks.serving.walk import Walk

logger = logging.getLogger(__name__)

State = Literal["starting", "ready", "closed"]
_LONGEST_PAUSE_S = 30.0


class BusyError(ThicketsError):
    """As many questions wait as may; the same question may be taken later."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a dispatcher has done so far.

    Attributes:
        answered: Questions.
        refused: Questions that the engine refuses, such as prompts that are too long.
        failed: Questions that were left without an answer, by the loss of an engine or by a verifier.
        left: Questions whose client went away before they were answered.
        batches: Walks over the experts.
        loads: Times that the engine was given other weights.
        starts: Engines that were started.
    """

    answered: int = 0
    refused: int = 0
    failed: int = 0
    left: int = 0
    batches: int = 0
    loads: int = 0
    starts: int = 0


@dataclass(slots=True, eq=False)
class Ticket:
    """A question that waits or is being asked."""

    question: Question
    future: Future[Outcome] = field(default_factory=Future)

    def leave(self) -> None:
        """Say that nobody waits for the answer any more: experts that have not been asked are not asked for it."""
        self.future.cancel()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for the answer."""
        return not self.future.done()

    def settle(self, result: Outcome | Exception) -> bool:
        """Give the answer or an error; returns False if nobody waits for it any more."""
        try:
            if isinstance(result, Exception):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)
        except InvalidStateError:  # it was left meanwhile
            return False
        return True


class Dispatcher:
    """Answers questions, from any thread, with one engine."""

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        judge: Judge,
        *,
        most_waiting: int = 256,
        most_at_once: int = 256,
        gather_s: float = 0.01,
    ) -> None:
        """Start the thread, and on it the engine.

        Args:
            open_engine: Builds the engine; called again when it is lost.
            judge: Extracts answers.
            most_waiting: Most questions that wait for their turn.
            most_at_once: Most questions of one walk over the experts.
            gather_s: How long the first question of a batch waits for others.
        """
        self._open_engine, self._judge = open_engine, judge
        self._most_waiting, self._most_at_once, self._gather_s = most_waiting, most_at_once, gather_s
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._state: State = "starting"
        self._failure: Exception | None = None
        self._counts, self._counting = Counts(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="serving-engine", daemon=True)
        self._thread.start()

    @property
    def state(self) -> State:
        """Whether the engine is there."""
        return self._state

    @property
    def counts(self) -> Counts:
        """What was done so far."""
        return self._counts

    @property
    def n_waiting(self) -> int:
        """Questions that wait for their turn."""
        return len(self._waiting)

    def wait_until_ready(self) -> None:
        """Wait for the first engine.

        Raises:
            ThicketsError: It could not be started.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._state != "starting" or self._failure is not None)
            if self._state == "ready":
                return
            failure = self._failure
        raise failure if isinstance(failure, ThicketsError) else RunError(f"the engine does not start: {failure}")

    def submit(self, *questions: Question) -> list[Ticket]:
        """Take questions, all or none.

        Raises:
            BusyError: Too many wait.
        """
        tickets = [Ticket(question) for question in questions]
        with self._changed:
            if self._state == "closed":
                raise EngineLostError("the server is shutting down")
            # Those whose client went away take nobody's place.
            self._forget_left()
            if len(self._waiting) + len(tickets) > self._most_waiting:
                raise BusyError(f"{len(self._waiting)} questions wait already, of {self._most_waiting} that may")
            self._waiting.extend(tickets)
            self._changed.notify_all()
        return tickets

    def close(self, within_s: float = 10.0) -> None:
        """End the engine; questions that wait get an `EngineLostError`."""
        with self._changed:
            self._state = "closed"
            self._fail_all(self._waiting, EngineLostError("the server is shutting down"))
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(within_s)

    def _run(self) -> None:
        pause_s = 0.0
        while self._state != "closed":
            try:
                engine = self._open_engine()
            except Exception as error:  # whatever a library raises
                pause_s = min(max(1.0, 2 * pause_s), _LONGEST_PAUSE_S)
                self._failed_to_start(error, pause_s)
                continue
            pause_s = 0.0
            self._count(starts=1)
            with self._changed:
                if self._state != "closed":
                    self._state = "ready"
                self._changed.notify_all()
            try:
                self._serve(engine)
            finally:
                engine.close()

    def _failed_to_start(self, error: Exception, pause_s: float) -> None:
        logger.error("the engine does not start: %s; again in %g s", error, pause_s)
        with self._changed:
            self._failure = error
            waiting, self._waiting = self._waiting, deque()
            self._fail_all(waiting, EngineLostError(f"the engine does not start: {error}"))
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._state == "closed", timeout=pause_s)

    def _serve(self, engine: Engine) -> None:
        """Ask batch after batch until the engine is lost, or `close`."""
        walk = Walk[Ticket](
            engine,
            self._judge,
            None,
            on_done=self._on_done,
            on_refused=self._on_refused,
            on_unjudged=self._on_unjudged,
            is_wanted=lambda ticket: ticket.is_wanted,
        )
        while batch := self._next_batch():
            before, start = walk.n_loads, time.monotonic()
            try:
                walk.run({ticket: ticket.question for ticket in batch})
            except EngineLostError as error:
                logger.error("%d questions are left without an answer: %s", len(walk.under_way), error)
                self._fail_all(walk.under_way, error)
                self._ask_again(batch, error)
                return
            except Exception as error:  # of this program's own
                failure = RunError(f"{type(error).__name__}: {error}")
                logger.exception("%d questions are left without an answer", sum(t.is_wanted for t in batch))
                self._fail_all(batch, failure)
            self._count(batches=1, loads=walk.n_loads - before, left=sum(t.future.cancelled() for t in batch))
            took = time.monotonic() - start
            logger.debug("questions: %d, seconds: %.1f, loads: %d", len(batch), took, walk.n_loads - before)

    def _ask_again(self, tickets: list[Ticket], error: EngineLostError) -> None:
        """Put what had no part in the call at which the engine was lost before all others, for the next engine."""
        with self._changed:
            again = [ticket for ticket in tickets if ticket.is_wanted]
            if self._state == "closed":
                self._fail_all(again, error)
                return
            self._waiting.extendleft(reversed(again))
            self._state, self._failure = "starting", error

    def _next_batch(self) -> list[Ticket]:
        """Return questions that wait, once there are some; none: `close`."""
        with self._changed:
            while self._state != "closed":
                self._forget_left()
                if not self._waiting:
                    self._changed.wait()
                    continue
                self._changed.wait_for(lambda: self._is_full or self._state == "closed", timeout=self._gather_s)
                self._forget_left()
                if batch := [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most_at_once))]:
                    return batch
        return []

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= self._most_at_once

    def _forget_left(self) -> None:
        wanted = deque(ticket for ticket in self._waiting if ticket.is_wanted)
        self._count(left=len(self._waiting) - len(wanted))
        self._waiting = wanted

    def _on_done(self, ticket: Ticket, outcome: Outcome) -> None:
        self._count(answered=int(ticket.settle(outcome)))

    def _on_refused(self, ticket: Ticket, error: InputError) -> None:
        self._count(refused=int(ticket.settle(error)))

    def _on_unjudged(self, ticket: Ticket, error: Exception) -> None:
        what = str(error) if isinstance(error, ThicketsError) else f"{type(error).__name__}: {error}"
        logger.error("a question is left without an answer: %s", what)
        may_pass = isinstance(error, TransientError)
        self._count(failed=int(ticket.settle(UnjudgedError(f"the answer could not be judged: {what}", may_pass))))

    def _fail_all(self, tickets: deque[Ticket] | list[Ticket], error: Exception) -> None:
        self._count(failed=sum(ticket.settle(error) for ticket in tickets))

    def _count(self, **more: int) -> None:
        with self._counting:
            self._counts = replace(self._counts, **{name: getattr(self._counts, name) + n for name, n in more.items()})
