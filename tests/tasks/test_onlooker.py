"""What only watches a run never ends it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from tests.judges import JUDGE
from tests.patience import PATIENCE_S
from thickets.storage.errors import TransientError
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.scoring.onlooker import Onlooker, now_and_then
from thickets.tasks.seeds import POPULATION_SCHEMA

HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1], read_only=True); print(flush=True); sys.stdin.read()"


def test_a_failure_is_logged_once_until_it_succeeds_again(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter([1, 0, 0, 1, 0])
    look = Onlooker(lambda: 1 // next(outcomes), "the look")
    for _ in range(5):
        look()
    assert [record.getMessage() for record in caplog.records] == [
        "the look failed, and is tried again later; the run goes on: integer division or modulo by zero"
    ] * 2


def test_who_ends_the_run_on_purpose_is_heard() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Onlooker(interrupt, "the look")()


def test_a_call_that_is_under_way_at_the_end_is_waited_for() -> None:
    begun, ended = threading.Event(), []

    def slow() -> None:
        begun.set()
        time.sleep(0.2)
        ended.append(threading.current_thread())

    with now_and_then(slow, 0.001, "the call"):
        assert begun.wait(PATIENCE_S)
        assert not ended
    assert len(ended) == 1
    assert ended[0] is not threading.current_thread()
    time.sleep(0.01)
    assert len(ended) == 1
    with now_and_then(slow, 60.0, "the call"):
        pass
    assert len(ended) == 1, "nothing is due before its time"


def test_a_tick_leaves_the_scores_to_a_reader_who_holds_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = tmp_path / "scores.duckdb"
    nobody = pl.DataFrame(schema=POPULATION_SCHEMA)
    book = ScoreBook(database, tmp_path / "shards", "run", nobody, [], JUDGE, "0" * 64)
    book.aggregate()
    reader = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    tick = Onlooker(lambda: book.aggregate(judge=False, wait_s=0.0) and None, "the tick")
    tick()
    assert "scores.duckdb is in use by another process" in caplog.text
    with pytest.raises(TransientError):
        book.aggregate(judge=False, wait_s=0.0)
    reader.communicate()
    assert book.aggregate(judge=False, wait_s=0.0).is_empty()
