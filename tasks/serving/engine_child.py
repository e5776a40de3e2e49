"""An `Engine` in a process of its own: its loss is an error like another, and a new one can be started."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.allocator import environment_that_keeps_memory
from thickets.tasks.child_process import ChildProcess
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.serving.engine_messages import Failed, Generate, Generated
from thickets.tasks.serving.questions import EngineLostError
from thickets.tasks.types import Completion, Prompt, Sampling, Weights

START_WITHIN_S = 1800.0  # vLLM may compile for minutes, and read a large checkpoint from a slow disk
GENERATE_WITHIN_S = 900.0


class EngineChild:
    """One engine in a child process. To be made, used and closed on one thread, with which the child ends.

    Loading is put off until something is generated: it travels with the prompts.
    """

    def __init__(
        self, spec: EngineSpec, *, start_within_s: float = START_WITHIN_S, generate_within_s: float = GENERATE_WITHIN_S
    ) -> None:
        """Start the process and wait until its engine is built.

        Args:
            spec: A resolved one.
            start_within_s: How long that may take.
            generate_within_s: How long one call may take before the process is taken for dead, and killed.

        Raises:
            ThicketsError: The engine cannot be built.
            EngineLostError: The process ended before.
        """
        self._generate_within_s = generate_within_s
        self._weights: Weights | None = None
        self._upcoming: Weights | None = None
        try:
            self._process = ChildProcess("thickets.tasks.serving.engine_main", environment_that_keeps_memory())
        except OSError as error:  # no memory or no number left for a process
            raise EngineLostError(f"cannot start the engine's process: {error}") from None
        self._is_closed = False
        self._replies: Iterator[Any] = self._process.conversation(spec)
        self._is_built = False
        self._next(start_within_s)
        self._is_built = True

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def load(self, weights: Weights | None) -> None:
        """See `Engine.load`; done by the next `generate`."""
        self._weights, self._upcoming = weights, None

    def prepare(self, weights: Weights) -> None:
        """See `Engine.prepare`."""
        self._upcoming = weights

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """See `Engine.generate`.

        Raises:
            EngineLostError: The process has ended, or takes too long and was killed.
        """
        request = Generate(self._weights, self._upcoming, tuple(prompts), sampling)
        self._upcoming = None
        try:
            self._process.send(request)
        except OSError:
            raise self._lost("") from None
        reply = self._next(self._generate_within_s)
        assert isinstance(reply, Generated)
        return list(reply.completions)

    def close(self) -> None:
        """End the process."""
        if not self._is_closed:
            self._is_closed = True
            self._process.wait()

    def _next(self, within_s: float) -> Any:
        """Return the next message of the process.

        Raises:
            ThicketsError: A request is bad, or the engine cannot be built.
            EngineLostError: There is none, or it is another error, after which the process ends.
        """
        late = threading.Event()

        def kill() -> None:
            late.set()
            self._process.kill()

        watchdog = threading.Timer(within_s, kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            reply = next(self._replies, None)
        finally:
            watchdog.cancel()
        if reply is None:
            raise self._lost(f"it did not answer within {within_s:g} s; " if late.is_set() else "")
        if isinstance(reply, Failed):
            is_over = self._is_built and not isinstance(reply.error, InputError)
            raise self._lost(f"{reply.what}; ") if is_over or reply.error is None else reply.error
        return reply

    def _lost(self, why: str) -> EngineLostError:
        self._is_closed = True
        return EngineLostError(f"the engine is lost: {why}{self._process.wait()}")
