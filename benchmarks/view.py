"""How long does the server take for each page of `thickets view` of a large run, and how much memory?

    python -m benchmarks.view [--size 5000] [--questions 200] [--k 50] [--json FILE]

A made run (`benchmarks.synthetic_run`) of so many candidates, each with a completion of about 60 words for every
selection question. Every page is asked for in one process, which has the pages of nothing else: `first_s` is the first
time, with tables made and modules imported that no page has needed before it, `median_s` and `max_s` are of the times
after that. The peak of memory is the process's so far, libraries and the search for loops in the background included.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.large_run import Rows, measure_large_run, peak_mb
from benchmarks.synthetic_run import RUN
from thickets.flows.results.runs import open_scores
from thickets.storage.home import Home

_TIMES = 5


def main() -> None:
    measure_large_run("benchmarks.view", __doc__, "pages", ["all"], measure)


def measure(folder: Path, part: str) -> Rows:
    """Ask for every page; return seconds, bytes and the peak of memory of each."""
    from starlette.testclient import TestClient

    from thickets.flows.view.address import Address
    from thickets.flows.view.app import make_app

    pages = TestClient(make_app(Home(folder), Address("127.0.0.1", 4300)), base_url="http://127.0.0.1:4300")
    return {path: _measured(pages, path) for path in _paths(Home(folder))}


def _paths(home: Home) -> list[str]:
    run = f"/runs/{RUN}"
    with open_scores(home, home.run(RUN)) as scores:
        best = scores.leaderboard(limit=1)["candidate_id"].item()
    examples = f"{run}/examples"
    return [
        "/runs",
        run,
        f"{run}/progress",
        f"{run}/plots/score_by_sigma.svg",
        f"{run}/plots/density_curve.svg",
        f"{run}/plots/k_curve.svg",
        f"{run}/plots/agreement_map.svg",
        f"{run}/plots/cost_accuracy.svg",
        f"{run}/plots/gains_bar.svg",
        f"{run}/candidates",
        f"{run}/candidates?sort=looping&page=40",
        f"{run}/candidates/{best}?split=test",
        f"{run}/candidates/{best}?split=selection",
        examples,
        f"{examples}?show=broken",
        f"{examples}?show=looping&sort=unsure",
        f"{examples}?q=w404",
        f"{examples}?split=selection&sort=hardest",
        f"{examples}/test/test-00000",
        f"{examples}/test/test-00000?page=3",
        f"{examples}/selection/selection-00000",
        f"{examples}/selection/selection-00000?page=200",
        f"{run}/changed",
        f"{examples}.csv",
        f"{run}/candidates.parquet",
    ]


def _measured(pages: Any, path: str) -> dict[str, Any]:
    times = []
    for _ in range(1 + _TIMES):
        began = time.perf_counter()
        found = pages.get(path)
        times.append(time.perf_counter() - began)
        if found.status_code != 200:
            raise RuntimeError(f"{path}: {found.status_code}")
    return {
        "first_s": times[0],
        "median_s": statistics.median(times[1:]),
        "max_s": max(times[1:]),
        "bytes": len(found.content),
        "peak MB": peak_mb(),
    }


if __name__ == "__main__":
    main()
