"""Writes the report: at the end of a run, and again from what a run has left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from thickets.flows.config.file import load_config
from thickets.flows.report.collect import collect
from thickets.flows.report.plots import Plot, own_plots
from thickets.flows.report.render import write_page
from thickets.flows.results.runs import load_summary, open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.problems import load_problem


def write_report(
    folder: RunFolder,
    summary: RunSummary,
    scores: ScoreQueries | None,
    *,
    extra: Sequence[Plot] = (),
    target: Path | None = None,
) -> Path:
    """Write a run's report, which depends only on what the run has stored: no clock, no chance.

    Args:
        folder: The run's.
        summary: What it found.
        scores: Its scores; what needs them is left out without.
        extra: Plots of the problem's own, shown after the others.
        target: Where to; the run's folder if nothing is said.

    Returns:
        The file.
    """
    return write_page(collect(folder, summary, scores, extra), target or folder.report)


def report_again(home: Home, folder: RunFolder, target: Path | None = None) -> Path:
    """Write the report of a finished run from what is stored; a run without its scores gets one without examples.

    Raises:
        InputError: The run is not finished, or the file cannot be written.
    """
    summary = load_summary(folder)
    if target is not None:
        check_target(target)
    try:
        if not folder.scores.is_file():
            return write_report(folder, summary, None, target=target)
        with open_scores(home, folder) as scores:
            return write_report(folder, summary, scores, extra=_own_plots(folder, summary, scores), target=target)
    except OSError as error:
        where = target or folder.report
        raise InputError(f"--out: cannot write {where}: {error.strerror or error}") from None


def _own_plots(folder: RunFolder, summary: RunSummary, scores: ScoreQueries) -> list[Plot]:
    """Return the problem's own plots; none for a problem that reads its questions from a path, which is not opened."""
    config = load_config(str(folder.config)).single_problem
    return own_plots(load_problem(config), summary, scores) if config.path is None else []


def check_target(target: Path) -> None:
    """Refuse a file that a report cannot be written to.

    Raises:
        InputError: It is a folder, or in none.
    """
    if target.is_dir():
        raise InputError(f"--out: {target} is a folder; name a file in it, e.g. {target / 'report.html'}")
    if not target.parent.is_dir():
        raise InputError(f"--out: there is no folder {target.parent}; create it, or name a file in one that is there")
