"""Copies what libraries and engine processes print to the flow run's log, besides the worker's terminal.

vLLM's workers, Ray and CUDA write to the process's standard output and standard error, past Python's logging. In a run
that a Prefect worker has started, both go through a pipe: every line is written to its stream and to the run's page.

No line can come round again, whatever a log line looks like. What comes out of the pipe goes to the page alone, not to
Python's logging, which would print it. What Python's logging prints of records that the page gets anyway goes to the
terminal past the pipe. And logging does not print its own failures, which would be read and fail again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

from prefect.logging.handlers import APILogHandler

from thickets.flows.runtime.environment import log
from thickets.flows.runtime.run_log import handlers_of, send_log_to_page

_STREAMS = (1, 2)
_is_logged: ContextVar[bool] = ContextVar("is_logged", default=False)


def is_started_by_a_worker() -> bool:
    """Tell whether this process was started for one flow run; elsewhere the streams are a person's terminal."""
    return "PREFECT__FLOW_RUN_ID" in os.environ


@contextmanager
def logged_output() -> Iterator[None]:
    """Log the lines that are written to the process's standard streams within the block to the flow run as well."""
    if _is_logged.get():  # a flow within a flow
        yield
        return
    page = send_log_to_page()
    token = _is_logged.set(True)
    with ExitStack() as stack:
        stack.callback(_is_logged.reset, token)
        stack.enter_context(_consoles_on_the_terminal())
        sys.stdout.flush()
        sys.stderr.flush()
        for stream in _STREAMS:
            stack.enter_context(_read(stream, page))
        yield


@contextmanager
def _read(stream: int, page: logging.Handler) -> Iterator[None]:
    """Put a pipe in place of one stream."""
    kept, onward = os.dup(stream), os.dup(stream)
    source, sink = os.pipe()
    os.dup2(sink, stream)
    os.close(sink)
    # In this context, so that Prefect attributes the log lines to this flow run.
    run = copy_context().run
    reader = threading.Thread(target=run, args=(_pass_on, source, onward, page), name=f"output-{stream}", daemon=True)
    reader.start()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept, stream)
        os.close(kept)
        # A process started meanwhile may hold the other end for longer than this run lasts.
        reader.join(timeout=1)


def _pass_on(source: int, onward: int, page: logging.Handler) -> None:
    with os.fdopen(source, "rb") as lines, os.fdopen(onward, "wb", buffering=0) as kept:
        for line in lines:
            with contextlib.suppress(BrokenPipeError):  # a worker that was killed; its run goes on without it
                kept.write(line)
            text = line.decode(errors="replace").strip().rsplit("\r", 1)[-1]  # of a progress bar only its last state
            if text:
                page.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, text, (), None))


@contextmanager
def _consoles_on_the_terminal() -> Iterator[None]:
    """Have log handlers write to what the standard streams are now, if the page gets their records by itself."""
    raises, logging.raiseExceptions = logging.raiseExceptions, False
    with ExitStack() as stack:
        stack.callback(setattr, logging, "raiseExceptions", raises)
        terminals = {
            stream: stack.enter_context(os.fdopen(os.dup(stream), "w", buffering=1, errors="replace"))
            for stream in _STREAMS
        }
        for owner, name in _outputs():
            before = getattr(owner, name)
            if (number := _number(before)) in terminals:
                before.flush()
                setattr(owner, name, terminals[number])
                stack.callback(setattr, owner, name, before)
        yield


def _outputs() -> Iterator[tuple[Any, str]]:
    """Yield where handlers keep the file that they write to: as a stream, or as the file of a console."""
    loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    reached = [handlers_of(logger) for logger in loggers]
    on_the_page = [handlers for handlers in reached if any(isinstance(each, APILogHandler) for each in handlers)]
    for handler in {handler for handlers in on_the_page for handler in handlers}:
        for owner, name in ((handler, "stream"), (getattr(handler, "console", None), "file")):
            if hasattr(owner, name):
                yield owner, name


def _number(file: Any) -> int | None:
    try:
        return int(file.fileno())
    except (AttributeError, OSError, ValueError):  # no file of the operating system
        return None
