"""The plots of a run in progress are those of the report: once everything is scored, they say the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from thickets.flows.results.summary import RunSummary
from thickets.flows.view.address import Address
from thickets.flows.view.app import make_app
from thickets.flows.view.judged import explainer_of
from thickets.flows.view.opened import OpenRun, Runs
from thickets.flows.view.so_far import PLOTS, density_so_far, same_questions, votes_so_far
from thickets.storage.home import Home, RunFolder


@pytest.fixture
def home(finished: RunSummary) -> Iterator[Home]:
    """A home in which the finished run is in progress still, with all of it scored."""
    home, folder = Home(finished.folder.parents[1]), RunFolder(finished.folder)
    folder.summary.unlink()
    with home.run_lock(folder.run_id):
        yield home


def opened(home: Home, run_id: str) -> Iterator[OpenRun]:
    with Runs(home).open(home.run(run_id)) as run:
        yield run


def test_they_end_as_the_report_has_them(finished: RunSummary, home: Home) -> None:
    [run] = opened(home, finished.run_id)
    assert tuple(density_so_far(run)) == finished.thicket.sigmas
    same = same_questions(run, "validation")
    assert same is not None
    votes = votes_so_far(run, explainer_of(run.folder), same)
    known = {(p.method, p.rule, p.k): p for p in finished.validation_curve}
    assert votes
    assert [known[p.method, p.rule, p.k] for p in votes] == list(votes)


def test_who_has_answered_less_is_not_drawn(finished: RunSummary, home: Home) -> None:
    selection = [path for path in shards_of(home, finished) if path.stem.startswith("selection")]
    lost = next(path for path in selection if "base" not in who(path))
    gone = who(lost)
    lost.unlink()
    [run] = opened(home, finished.run_id)
    same = same_questions(run, "selection")
    assert same is not None
    assert set(same.board["candidate_id"]) & gone == set()
    assert same.board.height == finished.n_candidates - len(gone)
    assert len(same.questions) == finished.split_sizes["selection"]
    assert sum(row.n_candidates for row in density_so_far(run)) == same.board.height


def shards_of(home: Home, run: RunSummary) -> list[Path]:
    """The shards of verdicts, which are read while a run is in progress."""
    return sorted(home.shards(run.fingerprint).glob("*/*.parquet"))


def who(path: Path) -> set[str]:
    return set(pl.read_parquet(path, columns=["candidate_id"])["candidate_id"])


def test_every_plot_is_a_picture_that_is_fetched_again(finished: RunSummary, home: Home) -> None:
    pages = TestClient(make_app(home, Address("127.0.0.1", 4300)), base_url="http://127.0.0.1:4300")
    html = pages.get(f"/runs/{finished.run_id}").text
    for name, title, _, _ in PLOTS:
        assert title in html
        assert f'plots/{name}.svg" ' in html
        found = pages.get(f"/runs/{finished.run_id}/plots/{name}.svg")
        assert found.status_code == 200
        assert "nothing to draw" not in found.text
    assert html.count('data-again="15000"') == len(PLOTS)
    assert pages.get(f"/runs/{finished.run_id}/plots/agreement_map.svg").status_code == 404


def test_before_anybody_has_answered_they_say_so(finished: RunSummary, home: Home) -> None:
    for path in shards_of(home, finished):
        path.unlink()
    pages = TestClient(make_app(home, Address("127.0.0.1", 4300)), base_url="http://127.0.0.1:4300")
    assert "nothing to draw yet" in pages.get(f"/runs/{finished.run_id}/plots/density_curve.svg").text
    assert "votes begin with the validation" in pages.get(f"/runs/{finished.run_id}/plots/k_curve.svg").text


def test_a_run_that_is_being_prepared_has_places_for_them(finished: RunSummary, home: Home) -> None:
    folder = home.run(finished.run_id)
    for path in (folder.begun, folder.scores, folder.candidates, folder.examples, folder.prompts):
        path.unlink(missing_ok=True)
    pages = TestClient(make_app(home, Address("127.0.0.1", 4300)), base_url="http://127.0.0.1:4300")
    assert pages.get(f"/runs/{finished.run_id}").text.count('data-again="15000"') == len(PLOTS)
    assert "nothing to draw yet" in pages.get(f"/runs/{finished.run_id}/plots/density_curve.svg").text
