"""The page of a run: how far it is, what it found, and its plots, of a run in progress too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from thickets.flows.report.collect import (
    Distillation,
    Rivals,
    comparisons,
    distillations_of,
    headline,
    rivals_of,
)
from thickets.flows.report.plots import plots
from thickets.flows.report.svg import inline_svg
from thickets.flows.results.diagnosis import diagnose
from thickets.flows.results.progress import ProgressNow
from thickets.flows.results.rows import ResultRow, result_rows
from thickets.flows.results.runs import RunRow, run_row
from thickets.flows.results.stored import stored_summary
from thickets.flows.results.summary import RunSummary
from thickets.flows.view.judged import Explainer
from thickets.flows.view.opened import OpenRun
from thickets.flows.view.rows import spread, spread_schema
from thickets.flows.view.so_far import PLOTS, draw_so_far
from thickets.storage.home import Home, RunFolder
from thickets.tasks.figures import PAGE
from thickets.tasks.results.text import duration, figure_name

_STALE_S = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a run in progress.

    Attributes:
        state: ``done``, ``now`` or ``later``.
    """

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run in progress is.

    Attributes:
        stages: In their order, the report last; empty where a budget decides how many there are.
        label: What is being scored.
        share: Share of the round that is scored, from 0 to 1; None where that is not known.
        facts: Counts, speed and time left, in words.
        is_late: Whether nothing was heard of the run for a while.
    """

    stages: tuple[Stage, ...]
    label: str
    share: float | None
    facts: str
    is_late: bool


@dataclass(frozen=True, slots=True)
class RunPage:
    """A run.

    Attributes:
        row: As `thickets runs` has it.
        summary: Its result; None until it is finished.
        headline: The verdict in a sentence.
        diagnosis: Why the run says nothing, or None.
        results: The table of results.
        figure: What the accuracies are called.
        distillations: Finished ones, with their rows and what they say.
        rivals: Rows and sentences of finished rivals; None where there are none.
        has_report: Whether its report is there.
        plots: Name, heading, caption and description of each plot.
    """

    row: RunRow
    summary: RunSummary | None
    headline: str
    diagnosis: str | None
    results: tuple[ResultRow, ...]
    plots: tuple[tuple[str, str, str, str], ...]
    figure: str = "accuracy"
    distillations: tuple[Distillation, ...] = ()
    rivals: Rivals | None = None
    has_report: bool = False


def run_page(home: Home, folder: RunFolder) -> RunPage:
    """Return the page of a run; its scores are not read."""
    row, summary = run_row(home, folder), stored_summary(folder) if folder.summary.is_file() else None
    if summary is None:
        return RunPage(row, None, "", None, (), PLOTS if row.has_begun or row.state == "running" else ())
    rivals, found = comparisons(summary), diagnose(summary)
    return RunPage(
        row,
        summary,
        headline(summary, [rival for rival in rivals if rival.label != "best single expert"]),
        None if found is None else found.sentence,
        tuple(result_rows(summary.evaluation, summary.full_cost)),
        tuple((plot.name, plot.title, plot.caption, plot.alt) for plot in plots(summary, _one_row(summary))),
        figure_name(is_graded=summary.is_graded),
        distillations_of(folder),
        rivals_of(folder),
        folder.report.is_file(),
    )


_RESULT_COLUMNS = pl.Schema(
    {
        "name": pl.String(),
        "label": pl.String(),
        "detail": pl.String(),
        **spread_schema("accuracy"),
        "n_correct": pl.Int64(),
        "n": pl.Int64(),
        **spread_schema("over_base"),
        "n_tokens": pl.Int64(),
        "tokens_to_get": pl.Int64(),
        "times_base_to_use": pl.Float64(),
    }
)


def results_rows(folder: RunFolder) -> pl.DataFrame:
    """Return the table of results; without rows until the run is finished."""
    summary = stored_summary(folder) if folder.summary.is_file() else None
    rows = [] if summary is None else result_rows(summary.evaluation, summary.full_cost)
    return pl.DataFrame(
        [
            {
                "name": row.name,
                "label": row.label,
                "detail": row.detail,
                **spread("accuracy", row.accuracy),
                "n_correct": row.accuracy.n_correct,
                "n": row.accuracy.n,
                **spread("over_base", row.over_base),
                "n_tokens": row.n_tokens,
                "tokens_to_get": None if row.cost is None else row.cost.get.n_tokens,
                "times_base_to_use": row.times_base,
            }
            for row in rows
        ],
        schema=_RESULT_COLUMNS,
    )


def progress_of(home: Home, folder: RunFolder) -> Progress | None:
    """Return how far a run is; None if it is not in progress."""
    if not home.is_locked(folder.run_id):
        return None
    now = ProgressNow.load(folder.progress)
    if now is None:
        return Progress((), "preparing", 0.0, "nothing is scored yet", is_late=False)
    if (made := _being_made(folder, now.written)) is not None:
        return Progress((), made, None, "the search is finished; this is made from it", is_late=False)
    quiet_s = (datetime.now(UTC) - now.written).total_seconds()
    facts = [f"{now.n_done:,} of {now.n_units:,} units"]
    facts += [f"{now.n_before:,} scored before"] if now.n_before else []
    facts += [f"{now.tokens_per_s:,.0f} tokens/s"] if now.tokens_per_s else []
    if now.left_s is not None:
        left_s = max(now.left_s - quiet_s, 0.0)
        facts.append(f"about {duration(_coarse(left_s))} {'to the report' if now.is_until_report else 'left'}")
    is_over = now.n_units == now.n_done
    place = now.place
    if is_over and place == len(now.stages):
        place, facts = place + 1, ["all is scored; the report is being written"]
    return Progress(
        tuple(Stage(name, _state(number, place)) for number, name in enumerate((*now.stages, "report"), start=1))
        if now.stages
        else (),
        now.label,
        now.n_done / now.n_units if now.n_units else 1.0,
        ", ".join(facts),
        is_late=quiet_s > _STALE_S and not is_over,
    )


def _being_made(folder: RunFolder, since: datetime) -> str | None:
    """Return the rival or the distillation that was begun after the search's last word and is not finished."""
    begun = [
        (config.stat().st_mtime, config.parent)
        for kind in ("rivals", "distillation")
        for config in folder.root.glob(f"{kind}/*/config.yaml")
        if not (config.parent / "summary.json").is_file()
    ]
    if not folder.summary.is_file() or not begun or max(begun)[0] < since.timestamp():
        return None
    made = max(begun)[1]
    return f"{made.parent.name.removesuffix('s')} {made.name}"


def draw(run: OpenRun, rules: Callable[[], Explainer], name: str) -> str | None:
    """Return a plot of a run as an SVG element; None if it has no plot of that name."""
    summary = stored_summary(run.folder) if run.folder.summary.is_file() else None
    if summary is None:
        return draw_so_far(run, rules(), name)
    board = run.reader.common_scores("selection") if name == "score_by_sigma" else _one_row(summary)
    for plot in plots(summary, board):
        if plot.name == name:
            return str(inline_svg(plot.draw(PAGE), name, plot.alt, PAGE))
    return None


def _one_row(summary: RunSummary) -> pl.DataFrame:
    """Return a board of one candidate: which plots there are does not depend on the others."""
    return pl.DataFrame({"sigma": [row.sigma for row in summary.sigmas] or [0.0], "mean_score": 0.0})


def _coarse(seconds: float) -> float:
    """Round a time left: a page that shows another second each time is never the same as before."""
    step = 1 if seconds < 20 else 5 if seconds < 120 else 60
    return round(seconds / step) * step


def _state(place: int, now: int | None) -> str:
    return "later" if now is None or place > now else "now" if place == now else "done"
