from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.patience import PATIENCE_S
from thickets.storage.errors import InputError, OutOfMemoryError, RunError
from thickets.tasks.scoring.executors.pool import EnginePool, PooledEngine, RemoteEngineError


def pool_of(n: int, patience_s: float = 60.0) -> EnginePool[PooledEngine]:
    return EnginePool([PooledEngine() for _ in range(n)], patience_s, lambda: "nobody is left")


def test_an_engine_is_started_per_shard_and_never_more_than_the_pool_holds() -> None:
    pool = pool_of(2)
    first, second = pool
    assert pool.engines_to_start() == []
    with pool.shard_under_way():
        assert pool.engines_to_start() == [first]
        assert pool.engines_to_start() == [], "it is on its way"
        with pool.shard_under_way():
            assert pool.engines_to_start() == [second]
            with pool.shard_under_way():
                assert pool.engines_to_start() == []


def test_the_least_busy_engine_is_next_and_nobody_has_more_than_two_shards() -> None:
    pool = pool_of(2)
    for place, engine in enumerate(pool):
        pool.ready(engine, str(place), has_built=True)
    with pool.borrow() as a, pool.borrow() as b, pool.borrow() as c, pool.borrow() as d:
        assert sorted([a.name, b.name]) == sorted([c.name, d.name]) == ["0", "1"]
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(pool.borrow().__enter__)
            time.sleep(0.1)
            assert not waiting.done()
            pool.cancel()
            with pytest.raises(RunError, match="cancelled"):
                waiting.result(PATIENCE_S)


def test_a_failed_start_fails_the_shards_that_have_nobody_else_and_is_not_repeated_beside_others() -> None:
    pool = pool_of(2)
    first, second = pool
    with pool.shard_under_way() as before, pool.shard_under_way():
        assert pool.engines_to_start() == [first, second]
        pool.failed(first, OutOfMemoryError("no room"))
        pool.ready(second, "second", has_built=True)
        with pool.borrow(before) as engine:
            assert engine is second
        assert pool.engines_to_start() == []
        pool.lost(second, "killed")
        with pytest.raises(OutOfMemoryError), pool.borrow(before):
            pass
        assert pool.engines_to_start() == [second], "with nobody here it is worth another start, of the better one"
    with pool.shard_under_way() as before:
        pool.failed(second, InputError("no such model"))
        assert pool.engines_to_start() == [first]
        pool.failed(first, InputError("no such model"))
        with pytest.raises(RunError, match="nobody"), EnginePool.borrow(_impatient(pool), before + 2):
            pass
        with pytest.raises(InputError), pool.borrow(before):
            pass


def _impatient(pool: EnginePool[PooledEngine]) -> EnginePool[PooledEngine]:
    pool._patience_s = 0.0
    return pool


def test_a_lost_engine_is_told_once_and_it_can_be_started_again(caplog: pytest.LogCaptureFixture) -> None:
    pool = pool_of(1)
    [engine] = pool
    pool.ready(engine, "local:7", has_built=True)
    for _ in range(2):  # for each of its shards
        error = pool.lost(engine, "its process was ended by SIGKILL")
        assert isinstance(error, RemoteEngineError)
        assert str(error) == "engine local:7 is lost: its process was ended by SIGKILL"
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    with pool.shard_under_way():
        assert pool.engines_to_start() == [engine]
    pool.cancel()
    assert str(pool.lost(engine, "we ended it")) == "scoring was cancelled"


def test_an_engine_is_overdue_only_with_its_model_in_memory_and_no_sign_of_life() -> None:
    pool = pool_of(1)
    [engine] = pool
    assert pool.overdue(engine, 0.0) is None, "nobody is here"
    pool.ready(engine, "a", has_built=False)
    time.sleep(0.02)
    assert pool.overdue(engine, 0.01) is None, "it may be building its engine"
    pool.sign_of_life(engine)
    assert pool.overdue(engine, 10.0) is None
    time.sleep(0.02)
    assert "scoring.unit_timeout_s" in (pool.overdue(engine, 0.01) or "")
    with pool.borrow():  # a rest is no silence
        assert pool.overdue(engine, 0.01) is None
