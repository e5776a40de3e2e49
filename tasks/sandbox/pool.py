"""Runs many programs side by side: as many at a time as there are processors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from thickets.tasks.sandbox.launch import Isolation
from thickets.tasks.sandbox.run import Bounds, Outcome, run_tests


@dataclass(frozen=True, slots=True)
class Job:
    """A program with the tests on it; see `run_tests`."""

    program: str
    tests: tuple[str, ...]
    setup: str = ""


def run_all(jobs: Sequence[Job], isolation: Isolation, bounds: Bounds | None = None) -> list[Outcome]:
    """Run programs, each in sandboxes of its own; the same program with the same tests is run once.

    Args:
        jobs: The programs.
        isolation: How they are shut in.
        bounds: What each may use.

    Returns:
        One outcome per job, in their order.
    """
    different = list(dict.fromkeys(jobs))
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_threads = max(1, min(len(different), n_cores))
    with ThreadPoolExecutor(n_threads, thread_name_prefix="sandbox") as threads:
        outcomes = threads.map(
            lambda job: run_tests(job.program, job.tests, setup=job.setup, isolation=isolation, bounds=bounds),
            different,
        )
        known = dict(zip(different, outcomes, strict=True))
    return [known[job] for job in jobs]
