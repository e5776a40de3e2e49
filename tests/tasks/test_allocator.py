"""Memory that was freed is there for the next piece, on any thread, and in an engine's own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thickets.tasks.allocator import environment_that_keeps_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")

ROOT = Path(__file__).parents[2]
# A thread that ended leaves an arena of its own behind, which the next thread would take.
COUNT = """
import resource, threading

def use(n):
    for _ in range(n):
        [b"x" * (megabytes << 20) for megabytes in (24, 12, 6, 3, 12, 24)]  # all at once

def measure():
    use(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    use(10)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

for work in (lambda: use(1), measure):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


def faults(code: str, **environment: str) -> int:
    """Pages that a thread of a new process had to be given to fill 81 MB ten times, once it has had them."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**own, "PYTHONPATH": str(ROOT), **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(found.stdout)


def test_pages_are_kept_where_flows_run_and_in_a_process_that_is_started() -> None:
    assert faults(COUNT) > 10_000, "the C library keeps them by itself now"
    assert faults("import thickets.flows" + COUNT) < 1_000
    assert faults(COUNT, **environment_that_keeps_memory()) < 1_000


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "0")
    assert environment_that_keeps_memory()["MALLOC_TRIM_THRESHOLD_"] == "0"
    unkept = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "1000000"}
    assert faults("import thickets.flows" + COUNT, **unkept) > 10_000


LARGE = """
import resource
from thickets.tasks.allocator import large_pieces_kept

def measure():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        b"x" * (40 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with large_pieces_kept():
    measure()
    inside = measure()
print(measure() if {outside} else inside)
"""


def test_a_large_piece_takes_its_predecessors_place_where_that_is_asked_for_and_nowhere_else() -> None:
    kept = environment_that_keeps_memory()
    assert faults(LARGE.format(outside=False), **kept) < 1_000
    assert faults(LARGE.format(outside=True), **kept) < 1_000, "what the heap has kept is taken again"
    assert faults(LARGE.format(outside=False), **kept, MALLOC_MMAP_MAX_="65536") > 10_000, "the user's setting wins"
