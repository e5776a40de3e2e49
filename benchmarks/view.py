"""How long does the server take for each page of `thickets view` of a large run, and how much memory?

    python -m benchmarks.view [--size 5000] [--questions 200] [--k 50] [--json FILE]

A made run (`benchmarks.synthetic_run`) of so many candidates, each with a completion of about 60 words for every
selection question; once as a finished run, and once as one in progress of which everything is scored. Every page is
asked for in one process, which has the pages of nothing else: `first_s` is the first time, with tables made and
modules imported that no page has needed before it, `median_s` and `max_s` are of the times after that. The peak of
memory is the process's so far, libraries and the search for loops in the background included.
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

_RUN = f"/runs/{RUN}"
_TIMES = 5


def main() -> None:
    measure_large_run("benchmarks.view", __doc__, "pages", ["finished", "in progress"], measure)


def measure(folder: Path, part: str) -> Rows:
    """Ask for every page; return seconds, bytes and the peak of memory of each."""
    home = Home(folder)
    if part == "finished":
        return _ask(home, part, _paths(home))
    run = home.run(RUN)
    run.summary.unlink()  # for good: it is the last part
    with home.run_lock(RUN):
        return _ask(home, part, _paths_in_progress())


def _ask(home: Home, part: str, paths: list[str]) -> Rows:
    from starlette.testclient import TestClient

    from thickets.flows.view.address import Address
    from thickets.flows.view.app import make_app

    pages = TestClient(make_app(home, Address("127.0.0.1", 4300)), base_url="http://127.0.0.1:4300")
    return {f"{part}: {path.removeprefix(_RUN)}": _measured(pages, path) for path in paths}


def _paths_in_progress() -> list[str]:
    plots = [f"{_RUN}/plots/{name}.svg" for name in ("score_by_sigma", "density_curve", "k_curve")]
    examples = f"{_RUN}/examples"
    return [_RUN, f"{_RUN}/progress", *plots, f"{_RUN}/candidates", examples, f"{examples}/selection/selection-00000"]


def _paths(home: Home) -> list[str]:
    with open_scores(home, home.run(RUN)) as scores:
        best = scores.leaderboard(limit=1)["candidate_id"].item()
    examples = f"{_RUN}/examples"
    return [
        "/runs",
        _RUN,
        f"{_RUN}/progress",
        f"{_RUN}/plots/score_by_sigma.svg",
        f"{_RUN}/plots/density_curve.svg",
        f"{_RUN}/plots/k_curve.svg",
        f"{_RUN}/plots/agreement_map.svg",
        f"{_RUN}/plots/cost_accuracy.svg",
        f"{_RUN}/plots/gains_bar.svg",
        f"{_RUN}/candidates",
        f"{_RUN}/candidates?sort=looping&page=40",
        f"{_RUN}/candidates/{best}?split=test",
        f"{_RUN}/candidates/{best}?split=selection",
        examples,
        f"{examples}?show=broken",
        f"{examples}?show=looping&sort=unsure",
        f"{examples}?q=w404",
        f"{examples}?split=selection&sort=hardest",
        f"{examples}/test/test-00000",
        f"{examples}/test/test-00000?page=3",
        f"{examples}/selection/selection-00000",
        f"{examples}/selection/selection-00000?page=200",
        f"{_RUN}/changed",
        f"{examples}.csv",
        f"{_RUN}/candidates.parquet",
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
