"""What a process prints past Python's logging is in the flow run's log, once, whatever its own log lines look like."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.formatters import JsonFormatter
from prefect.logging.handlers import APILogHandler, PrefectConsoleHandler

from tests.patience import wait_for
from thickets.flows.runtime.engine_output import logged_output
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.liveness import current_flow_run_id
from thickets.flows.runtime.run_log import send_log_to_page

pytestmark = pytest.mark.usefixtures("prefect_server")


def page_of(flow_run_id: str | None, until: set[str]) -> list[str]:
    """The lines on a flow run's page, as soon as the last ones are there."""
    assert flow_run_id is not None
    logged = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    found: list[str] = []
    with get_client(sync_client=True) as client:

        def has_all() -> bool:
            found[:] = [each.message for each in client.read_logs(logged)]
            return until <= set(found)

        wait_for(has_all, every_s=0.2)
    return found


@contextmanager
def console(handler: logging.Handler, formatter: logging.Formatter) -> Iterator[None]:
    """A handler of all loggers, as Prefect has one."""
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize(
    ("kind", "formatter"),
    [
        (PrefectConsoleHandler, JsonFormatter("default", None, "%")),  # as Kubernetes pools are often set up
        (
            PrefectConsoleHandler,
            logging.Formatter("%(asctime)s.%(msecs)03d | %(levelname)-7s | %(message)s", "%H:%M:%S"),
        ),
        (logging.StreamHandler, logging.Formatter("%(levelname)s %(message)s")),
    ],
    ids=["json", "default", "short"],
)
def test_lines_of_processes_are_logged_once_and_passed_on(
    kind: Callable[..., logging.Handler], formatter: logging.Formatter, capfd: pytest.CaptureFixture[str]
) -> None:
    @flow
    def printing() -> str | None:
        with logged_output(), logged_output():  # a flow within a flow does not log twice
            subprocess.run(["sh", "-c", "echo from a process >&2; printf '10%%\\r90%%\\n'"], check=True)
            log.warning("of our own")
            print("printed", flush=True)
            time.sleep(1.5)  # a line that came round again would do so hundreds of times
        log.warning("the last one")
        print("afterwards")
        return current_flow_run_id()

    with os.fdopen(2, "w", buffering=1, closefd=False) as stream, console(kind(stream), formatter):
        flow_run_id = printing()
        assert getattr(logging.getLogger().handlers[-1], "stream", None) is stream  # as it was
    found = page_of(flow_run_id, {"from a process", "90%", "the last one"})
    for line in ("from a process", "of our own"):
        assert [each for each in found if line in each] == [line]
    out, err = capfd.readouterr()
    assert err.count("from a process") == 1
    # The bare text is the command line's, where an earlier test has set that up.
    assert len([line for line in err.splitlines() if "of our own" in line and line != "of our own"]) == 1
    assert "afterwards" in out


def test_failures_of_logging_are_not_read_and_logged_again(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                raise OSError("no room for a line")
            except OSError:
                self.handleError(record)

    @flow
    def printing() -> str | None:
        with logged_output():
            log.warning("a line")
        log.warning("the last one")
        return current_flow_run_id()

    with os.fdopen(2, "w", buffering=1, closefd=False) as stream, console(Failing(), logging.Formatter()):
        monkeypatch.setattr(sys, "stderr", stream)  # pytest's own is another file
        found = page_of(printing(), {"a line", "the last one"})
        monkeypatch.undo()
    assert not any("no room" in line for line in found)
    assert logging.raiseExceptions


def test_our_log_reaches_the_page_where_prefect_was_not_told_to_send_it() -> None:
    @flow
    def warning() -> str | None:
        send_log_to_page()
        send_log_to_page()  # a flow within a flow
        logging.getLogger("thickets.storage.shards.file").warning("a shard is unreadable")
        return current_flow_run_id()

    before = log.handlers[:]
    log.handlers[:] = [each for each in before if not isinstance(each, APILogHandler)]
    try:
        found = page_of(warning(), {"a shard is unreadable"})
        log.warning("outside of a flow, which has no page")
    finally:
        log.handlers[:] = before
    assert found.count("a shard is unreadable") == 1
