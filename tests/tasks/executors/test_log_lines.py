"""What an engine's own process logs is logged by the process that a person looks at."""

from __future__ import annotations

import logging
import pickle
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.scoring.executors.log_lines import LineSender, LogLine
from thickets.tasks.scoring.executors.processes import ProcessExecutor
from thickets.tasks.scoring.units import Shard
from thickets.tasks.types import Candidate


class Warns:
    """In place of a job: logs where a real one would read shards, and fails."""

    engine = SimpleNamespace(threads=1, kind="transformers")

    def open_worker(self, *arguments: Any, **named: Any) -> NoReturn:
        logging.getLogger("thickets.storage.shards.file").warning("shard %s is unreadable", "a7")
        logging.getLogger("thickets.tasks.signals.pretraining").info("made")
        logging.getLogger("torch").info("of a library")
        raise InputError("model: not here")


def test_lines_of_an_engine_s_process_are_logged_here(caplog: pytest.LogCaptureFixture) -> None:
    executor = ProcessExecutor(Warns(), replicas=1, unit_timeout_s=60)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, "thickets"), pytest.raises(InputError, match="not here"):
        executor.score(Shard("selection", 0, (Candidate(1, 0.1),)))
    executor.close()
    assert [(each.name, each.levelname, each.message) for each in caplog.records] == [
        ("thickets.storage.shards.file", "WARNING", "shard a7 is unreadable"),
        ("thickets.tasks.signals.pretraining", "INFO", "made"),
    ]


def test_a_line_travels_with_its_traceback_and_percent_signs(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[LogLine] = []
    ours = logging.getLogger("thickets")
    sender = LineSender(sent.append)
    try:
        raise ValueError("a fault")
    except ValueError:
        logging.getLogger("thickets.tasks").exception("50%s of it", "%s")
    finally:
        ours.removeHandler(sender)
    [line] = pickle.loads(pickle.dumps(sent))
    caplog.clear()
    line.log()
    assert caplog.messages[0].startswith("50%s of it\nTraceback")
    assert caplog.messages[0].endswith("ValueError: a fault")


def test_a_line_that_cannot_be_sent_is_dropped() -> None:
    def closed(line: LogLine) -> NoReturn:
        raise BrokenPipeError

    sender = LineSender(closed)
    logging.getLogger("thickets.tasks").warning("to nobody")
    logging.getLogger("thickets").removeHandler(sender)
