from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from thickets.storage.errors import InputError, OutOfMemoryError, RunError
from thickets.tasks.scoring.executors.seats import RemoteEngineError, Seat, Seats


def seats_of(n: int, patience_s: float = 60.0) -> Seats[Seat]:
    return Seats([Seat() for _ in range(n)], patience_s, lambda: "nobody is left")


def test_an_engine_is_started_per_shard_and_never_more_than_there_are_seats() -> None:
    seats = seats_of(2)
    first, second = seats
    assert seats.call() == []
    with seats.asking():
        assert seats.call() == [first]
        assert seats.call() == [], "it is on its way"
        with seats.asking():
            assert seats.call() == [second]
            with seats.asking():
                assert seats.call() == []


def test_the_least_busy_engine_is_next_and_nobody_has_more_than_two_shards() -> None:
    seats = seats_of(2)
    for place, seat in enumerate(seats):
        seats.arrived(seat, str(place), has_built=True)
    with seats.one() as a, seats.one() as b, seats.one() as c, seats.one() as d:
        assert sorted([a.name, b.name]) == sorted([c.name, d.name]) == ["0", "1"]
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(seats.one().__enter__)
            time.sleep(0.1)
            assert not waiting.done()
            seats.cancel()
            with pytest.raises(RunError, match="cancelled"):
                waiting.result(10)


def test_a_failed_start_fails_the_shards_that_have_nobody_else_and_is_not_repeated_beside_others() -> None:
    seats = seats_of(2)
    first, second = seats
    with seats.asking() as before, seats.asking():
        assert seats.call() == [first, second]
        seats.did_not_come(first, OutOfMemoryError("no room"))
        seats.arrived(second, "second", has_built=True)
        with seats.one(before) as seat:
            assert seat is second
        assert seats.call() == []
        seats.lost(second, "killed")
        with pytest.raises(OutOfMemoryError), seats.one(before):
            pass
        assert seats.call() == [second], "with nobody here it is worth another start, of the better one"
    with seats.asking() as before:
        seats.did_not_come(second, InputError("no such model"))
        assert seats.call() == [first]
        seats.did_not_come(first, InputError("no such model"))
        with pytest.raises(RunError, match="nobody"), Seats.one(_impatient(seats), before + 2):
            pass
        with pytest.raises(InputError), seats.one(before):
            pass


def _impatient(seats: Seats[Seat]) -> Seats[Seat]:
    seats._patience_s = 0.0
    return seats


def test_a_lost_engine_is_told_once_and_its_place_is_free(caplog: pytest.LogCaptureFixture) -> None:
    seats = seats_of(1)
    [seat] = seats
    seats.arrived(seat, "local:7", has_built=True)
    for _ in range(2):  # for each of its shards
        error = seats.lost(seat, "its process was ended by SIGKILL")
        assert isinstance(error, RemoteEngineError)
        assert str(error) == "engine local:7 is lost: its process was ended by SIGKILL"
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    with seats.asking():
        assert seats.call() == [seat]
    seats.cancel()
    assert str(seats.lost(seat, "we ended it")) == "scoring was cancelled"


def test_an_engine_is_overdue_only_with_its_model_in_memory_and_no_sign_of_life() -> None:
    seats = seats_of(1)
    [seat] = seats
    assert seats.overdue(seat, 0.0) is None, "nobody is here"
    seats.arrived(seat, "a", has_built=False)
    time.sleep(0.02)
    assert seats.overdue(seat, 0.01) is None, "it may be building its engine"
    seats.heard(seat)
    assert seats.overdue(seat, 10.0) is None
    time.sleep(0.02)
    assert "scoring.unit_timeout_s" in (seats.overdue(seat, 0.01) or "")
    with seats.one():  # a rest is no silence
        assert seats.overdue(seat, 0.01) is None
