"""A run writes how far it is for other processes, seldom, and goes on if it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from thickets.flows.results.progress import ProgressNow
from thickets.flows.search import progress as module
from thickets.flows.search.forecast import Forecast
from thickets.flows.search.progress import ScoringProgress
from thickets.tasks.scoring.units import UnitReport


def report(n: int) -> UnitReport:
    return UnitReport(f"{n:016x}@0.1", "selection", n_correct=3, n=5, n_tokens=40, load_s=0.1, generate_s=0.2)


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScoringProgress:
    monkeypatch.setattr(module, "_FILE_EVERY_S", 0.0)
    progress = ScoringProgress()
    progress.file = tmp_path / "progress.json"
    progress.forecast = Forecast({"selection": 50.0, "test": 30.0})
    return progress


def test_it_says_stage_counts_and_time_left(progress: ScoringProgress) -> None:
    assert progress.file is not None
    with progress.split("selection", 4, 2, 1):
        begun = ProgressNow.load(progress.file)
        assert begun is not None
        assert (begun.label, begun.place, begun.stages) == ("selection", 1, ("selection", "test"))
        assert (begun.n_done, begun.n_units, begun.n_before, begun.left_s) == (0, 4, 2, None)
        for n in range(3):
            progress.on_unit(report(n))
        now = ProgressNow.load(progress.file)
        assert now is not None
        assert (now.n_done, now.is_until_report) == (3, True)
        assert now.left_s is not None
        assert now.tokens_per_s > 0


def test_it_is_written_seldom(progress: ScoringProgress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FILE_EVERY_S", 3600.0)
    assert progress.file is not None
    with progress.split("selection", 4, 0, 1):
        progress.on_unit(report(0))
        now = ProgressNow.load(progress.file)
        assert now is not None
        assert now.n_done == 0


def test_a_file_that_cannot_be_written_ends_nothing(progress: ScoringProgress, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    progress.file = tmp_path / "file" / "progress.json"
    with progress.split("selection", 1, 0, 1):
        progress.on_unit(report(0))
    assert ProgressNow.load(progress.file) is None


@pytest.mark.parametrize("text", ["", "{", '{"label": 3}', "[]"])
def test_what_is_no_progress_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "progress.json").write_text(text)
    assert ProgressNow.load(tmp_path / "progress.json") is None
