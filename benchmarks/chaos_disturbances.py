"""What `benchmarks.chaos` does to a search; each function starts the search once and disturbs that start.

Each takes the search, a share (of the time, of a file) and a source of choices, and returns whether the disturbance
came in time. A start that ended before was not disturbed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.chaos_clock import Clock
from benchmarks.chaos_search import PATIENCE_S, NotSurvivedError, Search
from benchmarks.chaos_servers import Services, filled
from benchmarks.chaos_start import Start

Disturbance = Callable[[Search, float, random.Random], bool]

# Longer than the 10 s for which a run waits for a reader at first.
_HELD_S = 15.0
_HOLD = """
import sys, time, duckdb
until = time.monotonic() + 60
while time.monotonic() < until:
    try:
        held = duckdb.connect(sys.argv[1], read_only=True)
        break
    except duckdb.Error:
        time.sleep(0.01)
else:
    sys.exit(1)
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""
# An engine that is lost when so few shards are left may not be missed before the others have finished them.
_MISSED_BY = 3


def kill_flow(search: Search, share: float, draw: random.Random) -> bool:
    """End the run's process."""
    return _killed(search, search.start(), share)


def kill_engine(search: Search, share: float, draw: random.Random) -> bool:
    """End one of two engine processes; the run itself must go on to its end."""
    start = search.start("engine.replicas=2")
    is_over = search.ends_before(start, share, start.engines, of_scoring=True)
    if is_over or not (engines := start.engines()):  # scoring is over
        search.end_well(start)
        return False
    n_before = start.n_shards
    with contextlib.suppress(ProcessLookupError):
        os.kill(draw.choice(engines), signal.SIGKILL)
    search.end_well(start)
    is_named = any("is lost" in line or "could not be started" in line for line in start.lines())
    if start.n_shards >= n_before + _MISSED_BY and not is_named:
        raise NotSurvivedError("no log line tells of the lost engine")
    return True


def truncate_shard(search: Search, share: float, draw: random.Random) -> bool:
    """Kill the run and cut a finished shard off."""

    def cut(path: Path) -> None:
        os.truncate(path, int(draw.random() * path.stat().st_size))

    return _damaged(search, share, draw, cut)


def flip_byte(search: Search, share: float, draw: random.Random) -> bool:
    """Kill the run and change one bit of a finished shard."""

    def flip(path: Path) -> None:
        content, times = bytearray(path.read_bytes()), path.stat()
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a disk does it

    return _damaged(search, share, draw, flip)


def delete_verdicts(search: Search, share: float, draw: random.Random) -> bool:
    """Kill the run and delete a file of verdicts, which the next start makes again."""
    _killed(search, search.start(), share, search.verdicts)
    if not (files := search.verdicts()):
        return False
    draw.choice(files).unlink()
    search.is_finished = False
    return True


def delete_database(search: Search, share: float, draw: random.Random) -> bool:
    """Kill the run and delete the score database, which the next start makes again."""
    _killed(search, search.start(), share, search.databases)
    databases = search.databases()
    for database in databases:
        database.unlink()
        database.with_name(f"{database.name}.wal").unlink(missing_ok=True)
    search.is_finished = search.is_finished and not databases
    return bool(databases)


def hold_database(search: Search, share: float, draw: random.Random) -> bool:
    """Have a reader hold the score database for longer than a run waits at first; the run must end well."""
    start = search.start()
    if search.ends_before(start, share, search.databases):
        search.end_well(start)
        return False
    command = [sys.executable, "-c", _HOLD, str(search.databases()[0]), str(_HELD_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        is_held = reader.stdout.readline() == "held\n" and not start.has_ended
        try:
            search.end_well(start)
        finally:
            reader.kill()
    return is_held


def start_twice(search: Search, share: float, draw: random.Random) -> bool:
    """Start the same run twice at once: one must finish it, the other may say that it is in progress."""
    first = search.start()
    time.sleep(share / 2)
    second = search.start()
    finished = [search.end_well(start, unless="already in progress") for start in (first, second)]
    if not any(finished):
        raise NotSurvivedError("each of two starts said that the other is in progress")
    search.is_finished = True
    return True


def fill_disk(search: Search, share: float, draw: random.Random) -> bool:
    """Fill the disk until the run has ended: well, or with a line that says why."""
    assert search.disk is not None
    start = search.start()
    if search.ends_before(start, share):
        search.end_well(start)
        return False
    with filled(search.disk):
        search.end_well(start, unless="disk is full")
    return True


def step_clock(library: Path) -> Disturbance:
    """Return what steps the clock by an hour during a run, which ends well, or is killed: then it steps back."""

    def step(search: Search, share: float, draw: random.Random) -> bool:
        clock = Clock(library, search.folder / "clock")
        clock.step(0)
        start = search.start(environment=clock.environment)
        if search.ends_before(start, share):
            search.end_well(start)
            return False
        clock.step(draw.choice([-3600, 3600]))
        if draw.random() < 0.5:
            search.end_well(start)
        else:
            _killed(search, start, draw.random())
        return True

    return step


def kill_server(services: Services, name: str) -> Disturbance:
    """Return what ends a server during a run, which must end well.

    A first start that MLflow does not know yet may refuse to go on without it, before anything is scored.
    """

    def kill(search: Search, share: float, draw: random.Random) -> bool:
        services.wait()
        start = search.start(environment=services.environment)
        if search.ends_before(start, share):
            search.end_well(start)
            return False
        is_new = not any(search.home.glob("runs/*/tracking.json"))
        services.kill(name)
        search.end_well(start, unless="tracking.uri: " if is_new and name == "mlflow" else None)
        return True

    return kill


def kill_worker(services: Services) -> Disturbance:
    """Return what ends the worker that carries out a run, with the run's process or without it.

    A run that is left behind may end well, or is ended by `thickets up`; it must not be in the way of the next start.
    """

    def kill(search: Search, share: float, draw: random.Random) -> bool:
        services.wait()
        start = search.submit(services.environment, services.worker_log)
        if search.ends_before(start, share):
            search.end_well(start)
            return False
        left = services.kill("worker", alone=draw.random() < 0.5)
        _, left = psutil.wait_procs(left, PATIENCE_S)
        if left:
            raise NotSurvivedError(f"{PATIENCE_S:.0f} s after its worker was killed the run's process is still there")
        start.process.terminate()
        start.process.wait()
        return True

    return kill


DISTURBANCES: dict[str, Disturbance] = {
    "flow": kill_flow,
    "engine": kill_engine,
    "truncated": truncate_shard,
    "flipped": flip_byte,
    "verdicts": delete_verdicts,
    "database": delete_database,
    "held": hold_database,
    "twice": start_twice,
    "disk": fill_disk,
}
"""By the names that ``--without`` takes; ``clock``, ``worker``, ``prefect`` and ``mlflow`` need something first."""


def _killed(search: Search, start: Start, share: float, ready: Callable[[], object] = lambda: True) -> bool:
    if search.ends_before(start, share, ready):
        search.end_well(start)
        return False
    start.kill()
    return True


def _damaged(search: Search, share: float, draw: random.Random, damage: Callable[[Path], None]) -> bool:
    """Kill a start, and damage one of its shards; one that has ended before is damaged too."""
    _killed(search, search.start(), share, search.shards)
    search.look()
    if not (shards := search.shards()):
        return False
    damage(chosen := draw.choice(shards))
    search.will_be_named(chosen)
    search.is_finished = False
    return True
