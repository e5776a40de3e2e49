"""Copies what libraries and engine processes print to the flow run's log, besides the worker's terminal.

vLLM's workers, Ray and CUDA write to the process's standard output and standard error, past Python's logging. In a run
that a Prefect worker has started, both go through a pipe: every line is written to its stream and to the log.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context

from thickets.flows.runtime.environment import log

# Prefect's own console lines, which come from its log: "12:34:56.789 | INFO    | Flow run ...".
_FROM_THE_LOG = re.compile(r"\d\d:\d\d:\d\d\.\d{3} \| [A-Z]+ +\| ")
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
    token = _is_logged.set(True)
    sys.stdout.flush()
    sys.stderr.flush()
    before, readers = [], []
    for stream in _STREAMS:
        before.append((stream, os.dup(stream)))
        source, sink = os.pipe()
        onward = os.dup(stream)
        os.dup2(sink, stream)
        os.close(sink)
        # In this context, so that Prefect attributes the log lines to this flow run.
        reader = threading.Thread(
            target=copy_context().run, args=(_pass_on, source, onward), name=f"output-{stream}", daemon=True
        )
        reader.start()
        readers.append(reader)
    try:
        yield
    finally:
        _is_logged.reset(token)
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, kept in before:
            os.dup2(kept, stream)
            os.close(kept)
        for reader in readers:
            # A process started meanwhile may hold the other end for longer than this run lasts.
            reader.join(timeout=1)


def _pass_on(source: int, onward: int) -> None:
    with os.fdopen(source, "rb") as lines, os.fdopen(onward, "wb", buffering=0) as kept:
        for line in lines:
            with contextlib.suppress(BrokenPipeError):  # a worker that was killed; its run goes on without it
                kept.write(line)
            text = line.decode(errors="replace").strip().rsplit("\r", 1)[-1]  # of a progress bar only its last state
            if text and not _FROM_THE_LOG.match(text):
                log.info(text)
