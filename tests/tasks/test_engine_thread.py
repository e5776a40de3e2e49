from __future__ import annotations

import contextvars
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import FOR_EVER_S, PATIENCE_S
from thickets.tasks.engines.ahead import Ahead
from thickets.tasks.scoring.engine_thread import EngineThread
from thickets.tasks.types import Candidate

ROOT = Path(__file__).parents[2]
SCRIPT = """
import time
from thickets.tasks.scoring.engine_thread import EngineThread
thread = EngineThread()
thread.submit(time.sleep, {seconds})
thread.submit(print, "done")
{then}
"""


def output_of(seconds: float, then: str = "") -> str:
    script = SCRIPT.format(seconds=seconds, then=then)
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE_S
    ).stdout


def test_calls_are_made_in_their_order_and_errors_come_back() -> None:
    thread, made = EngineThread(), []
    first, failing, last = thread.submit(made.append, 1), thread.submit(int, "x"), thread.submit(made.append, 2)
    last.result(PATIENCE_S)
    assert first.done()
    assert made == [1, 2]
    with pytest.raises(ValueError, match="invalid literal"):
        failing.result()
    pending = thread.submit(time.sleep, 0.1), thread.submit(made.append, 3), thread.submit(made.append, 4)
    assert pending[1].cancel()
    thread.end()
    with pytest.raises(RuntimeError):
        thread.submit(made.append, 5)
    pending[2].result(PATIENCE_S)
    assert made == [1, 2, 4]


def test_a_process_waits_for_its_engine_but_not_for_one_that_was_given_up() -> None:
    assert output_of(0.5) == "done\n"
    assert output_of(FOR_EVER_S, "thread.give_up()") == ""


def test_calls_are_made_in_the_context_of_whoever_asked() -> None:
    """Prefect finds there which run a log line belongs to."""
    whose = contextvars.ContextVar("whose", default="nobody's")
    thread, ahead, seen = EngineThread(), Ahead(), []
    whose.set("a run's")
    assert thread.submit(whose.get).result(PATIENCE_S) == "a run's"
    ahead.start(Candidate(1, 0.1), lambda weights: seen.append(whose.get()))
    assert ahead.take(Candidate(1, 0.1))
    assert seen == ["a run's"]
    whose.set("another's")
    assert thread.submit(whose.get).result(PATIENCE_S) == "another's"
    ahead.close()
    thread.end()
