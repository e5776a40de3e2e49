"""The benchmarks that drive a whole run still can."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos import chaos, plan
from benchmarks.chaos_disturbances import DISTURBANCES
from benchmarks.chaos_search import NotSurvivedError, Search
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


@pytest.mark.slow
def test_five_rounds_of_chaos_change_nothing(tmp_path: Path) -> None:
    outcome = chaos(5, 1, ["flow", "truncated", "verdicts", "database", "twice"], tmp_path / "chaos")
    assert outcome.failures == []
    assert outcome.n_searches > 0
    assert outcome.tried.total() == 5
