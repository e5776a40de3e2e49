"""One start of the search that `benchmarks.chaos` disturbs: its process, its log, and how far it has come."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_POLL_S = 0.005


@dataclass
class Timing:
    """How long the parts of a start take: of the undisturbed one at first, and of faster ones that came later.

    Attributes:
        n_shards: Of the whole search.
        setup_s: From the run's lock to the first shard.
        shard_s: From a shard to the next one.
        wrap_up_s: From the last shard to the end.
        idle_s: From the run's lock to the end, of a start that finds every shard.
    """

    n_shards: int
    setup_s: float
    shard_s: float
    wrap_up_s: float
    idle_s: float


class Start:
    """One process of `thickets run`, or one that follows a run of a worker.

    Attributes:
        log: What the process has said.
        process: The process.
        n_before: Shards of the home before it.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        home: Path,
        *,
        worker_log: Path | None = None,
    ) -> None:
        self.log, self._home, self._worker_log = log, home, worker_log
        self._said_before = worker_log.stat().st_size if worker_log else 0
        self.n_before, self._locks = len(shards_in(home)), _locks(home)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=output
            )

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    @property
    def begun(self) -> float | None:
        """When the run was locked for this start, in seconds since 1970; None before."""
        taken = [time_ns for path, time_ns in _locks(self._home).items() if time_ns != self._locks.get(path)]
        return max(taken) / 1e9 if taken else None

    @property
    def n_shards(self) -> int:
        """How many shards are finished now, those before this start included."""
        return len(shards_in(self._home))

    def ends_before(self, condition: Callable[[], object]) -> bool:
        """Wait until something is the case, and return whether the process has ended by itself before."""
        while not self.has_ended:
            if condition():
                return False
            time.sleep(_POLL_S)
        return True

    def ends_within(self, seconds: float) -> bool:
        """Wait for some seconds, and return whether the process has ended by itself before they were over."""
        end = time.monotonic() + seconds
        return self.ends_before(lambda: time.monotonic() >= end)

    def ends_before_share(self, share: float, timing: Timing, *, of_scoring: bool = False) -> bool:
        """Wait until a start that has begun has done a share of what is left to do now.

        It is told by the shards that are there, and by the clock before the first, between two and after the last.

        Args:
            share: Of the time that the rest can be expected to take.
            timing: What it can be expected to take.
            of_scoring: Until the last shard; else until the end.

        Returns:
            Whether it has ended by itself before.
        """
        n_now = self.n_shards
        n_left = max(timing.n_shards - n_now, 0)
        setup_s = timing.setup_s if n_left and n_now == self.n_before else 0.0
        scoring_s = max(n_left - 1, 0) * timing.shard_s
        wrap_up_s = 0.0 if of_scoring else timing.wrap_up_s if n_left else timing.idle_s
        moment_s = share * (setup_s + scoring_s + wrap_up_s)
        if moment_s < setup_s:
            return self.ends_within(moment_s)
        moment_s -= setup_s
        n_more, rest_s = (n_left, moment_s - scoring_s) if moment_s >= scoring_s else divmod(moment_s, timing.shard_s)
        wanted = n_now + min(int(n_more) + bool(setup_s), n_left)
        return self.ends_before(lambda: self.n_shards >= wanted) or self.ends_within(rest_s)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait()

    def engines(self) -> list[int]:
        """Return the process ids of its engines that have a process of their own."""
        found = []
        try:
            for child in psutil.Process(self.process.pid).children():
                if any("engine_main" in part for part in child.cmdline()):
                    found.append(child.pid)
        except psutil.Error:  # one of them has just ended
            return []
        return found

    def lines(self) -> list[str]:
        """Return what it has logged so far: to the terminal, or to its worker's."""
        said = self.log.read_bytes()
        if self._worker_log is not None:
            said = self._worker_log.read_bytes()[self._said_before :] + said
        return said.decode(errors="replace").splitlines()


def shards_in(home: Path) -> list[Path]:
    """Return the finished shards of a home."""
    return sorted(path for path in home.glob("shards/*/*.parquet") if not path.name.startswith("."))


def _locks(home: Path) -> dict[Path, int]:
    """Return when the lock of each run was last taken, in nanoseconds since 1970."""
    return {path: path.stat().st_mtime_ns for path in home.glob("runs/*/run.lock")}
