"""The benchmarks that drive a whole run still can."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.chaos import chaos, plan
from benchmarks.chaos_clock import Clock, make_library
from benchmarks.chaos_disturbances import DISTURBANCES
from benchmarks.chaos_search import NotSurvivedError, Search
from benchmarks.chaos_start import Start, Timing
from benchmarks.orchestration import measure

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.slow
def test_orchestration_measures_a_run_with_all_its_controls() -> None:
    found = measure(n_candidates=60, n_examples=4)
    assert found["answers"] == 240
    assert 0 < found["rest_s"] <= found["wall_s"]
    assert found["disk MB"] > 0


def test_a_seed_decides_the_rounds_of_chaos_and_each_kind_has_its_turn() -> None:
    kinds = list(DISTURBANCES)
    assert plan(100, 3, kinds) == plan(100, 3, kinds)
    assert plan(100, 3, kinds) != plan(100, 4, kinds)
    assert {each.kind for each in plan(2 * len(kinds), 3, kinds)} == set(kinds)


def test_chaos_sees_a_finished_shard_that_is_written_again_or_gone(tmp_path: Path) -> None:
    search = Search(tmp_path / "search", tmp_path / "home", tmp_path / "model", {})
    shards = [tmp_path / "home" / "shards" / "f" / f"{name}.parquet" for name in ("a", "b", "c")]
    shards[0].parent.mkdir(parents=True)
    for shard in shards:
        shard.write_text("before")
    search.look()
    search.will_be_named(shards[0])
    shards[0].unlink()
    search.look()  # a damaged one may be made again

    shards[1].rename(kept := tmp_path / "kept")
    shards[1].write_text("before")
    with pytest.raises(NotSurvivedError, match="1 finished shards are written again, the first is b"):
        search.look()
    kept.unlink()
    shards[2].unlink()
    with pytest.raises(NotSurvivedError, match="1 finished shards are gone, the first is c"):
        search.look()


@pytest.mark.parametrize(("n_before", "n_then"), [(0, 2), (2, 3)])
def test_a_moment_of_chaos_is_a_share_of_what_is_left(tmp_path: Path, n_before: int, n_then: int) -> None:
    folder = tmp_path / "home" / "shards" / "f"
    folder.mkdir(parents=True)
    for number in range(n_before):
        (folder / f"{number}.parquet").touch()
    start = Start(["sleep", "60"], {}, tmp_path / "log", tmp_path / "home")

    def score() -> None:
        for number in range(n_before, 4):
            time.sleep(0.3)
            (folder / f"{number}.parquet").touch()

    scoring = threading.Thread(target=score)
    scoring.start()
    try:
        quick = Timing(n_shards=4, setup_s=0.001, shard_s=0.001, wrap_up_s=1.0, idle_s=1.0)
        assert not start.ends_before_share(0.5, quick, of_scoring=True)
        assert start.n_shards == n_then
        scoring.join()
        began = time.monotonic()
        assert not start.ends_before_share(0.5, quick)  # nothing is left to score: the clock counts
        assert time.monotonic() - began >= 0.5
    finally:
        start.kill()
    assert start.ends_before_share(0.5, quick)


def test_the_clock_that_chaos_steps_is_seen_by_a_running_program_and_no_wait_is(tmp_path: Path) -> None:
    library = make_library(tmp_path)
    if isinstance(library, str):
        pytest.skip(library)
    clock = Clock(library, tmp_path / "clock")
    clock.step(0)
    told = "import threading, time\n" + 2 * (
        "print(time.time(), flush=True); input(); began = time.monotonic()\n"
        "time.sleep(0.05); threading.Event().wait(0.05); assert 0.1 <= time.monotonic() - began < 1800\n"
    )
    command = [sys.executable, "-c", told]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=clock.environment, text=True, **pipes) as program:  # type: ignore[call-overload]
        before = float(program.stdout.readline())
        clock.step(-3600)
        program.stdin.write("\n")
        program.stdin.flush()
        after = float(program.stdout.readline())
        program.communicate("\n")
    assert program.returncode == 0
    assert -3600 <= after - before < -1800


@pytest.mark.slow
def test_five_rounds_of_chaos_change_nothing(tmp_path: Path) -> None:
    outcome = chaos(5, 1, ["flow", "truncated", "verdicts", "database", "twice"], tmp_path / "chaos")
    assert outcome.failures == []
    assert outcome.n_searches > 0
    assert outcome.tried.total() == 5
