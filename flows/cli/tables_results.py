"""Terminal tables of runs, results and problems, and the console that prints them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from thickets.flows.cli.plain_text import plain
from thickets.flows.results.rows import GET_HEADING, USE_HEADING, result_rows
from thickets.flows.results.sentences import findings, headlines
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import RunFolder
from thickets.tasks.results.text import OVER_BASE_HEADING, accuracy_heading, duration, percent, points
from thickets.tasks.results.thicket import ThicketDescription

if TYPE_CHECKING:
    from thickets.flows.results.ready_queries import ReadyQuery
    from thickets.flows.results.runs import RunRow

_MARGINS = (0, 2, 5, 10)


def console() -> Console:
    """Return a console on standard output; without a terminal it is wide, so that files and pipes get whole lines."""
    out = Console()
    return out if out.is_terminal or "COLUMNS" in os.environ else Console(width=140)


def show_summary(summary: RunSummary, console: Console, where: str = "") -> None:
    """Print the end of a run: the table of results and the few lines that matter; `where` as for `headlines`."""
    console.print(result_table(summary))
    for line in headlines(summary, where):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def show_everything(summary: RunSummary, console: Console, votes: pl.DataFrame) -> None:
    """Print votes, tables, every sentence and the addresses of a run."""
    console.print(
        votes_table(votes),
        sigma_table(summary),
        density_table(summary.thicket),
        result_table(summary),
        *map(Text, findings(summary)),
        sep="\n",
    )
    print_addresses(summary, console)


def print_addresses(summary: RunSummary, console: Console) -> None:
    """Print the run's folder, report and addresses, one per line and never wrapped."""
    links = summary.tracking
    addresses = {
        "folder": str(summary.folder),
        "report": str(RunFolder(summary.folder).report),
        "MLflow": links.mlflow_address,
    }
    if links.prefect_flow_run_id:
        addresses["Prefect"] = links.prefect_address or f"flow run {links.prefect_flow_run_id}"
    for name, address in addresses.items():
        console.print(f"{name + ':':<8} {address}", soft_wrap=True, highlight=False, markup=False)


def result_table(summary: RunSummary) -> Table:
    """Return controls, base, best single expert and ensemble on the test split."""
    cost = f"{sum(summary.n_tokens.values()):,} tokens, {duration(summary.wall_s)} in the last session"
    table = Table(
        title=f"{summary.run_id}: {summary.problem} on {summary.model}",
        title_justify="left",
        caption=f"{summary.n_candidates:,} candidates, {cost}",
        caption_justify="left",
    )
    rows = result_rows(summary.evaluation, summary.full_cost)
    counted = summary.cost is not None
    table.add_column("")
    table.add_column(accuracy_heading((row.accuracy for row in rows), "test"), justify="right")
    table.add_column(OVER_BASE_HEADING, justify="right")
    table.add_column("correct", justify="right")
    for heading in (GET_HEADING, USE_HEADING) if counted else ("tokens",):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.label,
            percent(row.accuracy),
            points(row.over_base) if row.over_base else "",
            f"{row.accuracy.n_correct}/{row.accuracy.n}",
            *((row.to_get, row.to_use) if counted else (f"{row.n_tokens:,}",)),
            style="bold" if row.is_ensemble else "",
        )
    return table


def sigma_table(summary: RunSummary) -> Table:
    """Return the scores of the candidates, per sigma."""
    base = summary.base_selection
    what = summary.common_questions.removeprefix("the ")
    table = Table(title=f"{what[0].upper()}{what[1:]} (base {percent(base)})", title_justify="left")
    mean = "mean score" if summary.is_graded else "mean accuracy"
    for heading in ("sigma", "candidates", mean, "best", "at least as good as the base"):
        table.add_column(heading, justify="right")
    for row in summary.sigmas:
        table.add_row(
            f"{row.sigma:g}",
            str(row.n_candidates),
            percent(row.mean_accuracy),
            percent(row.max_accuracy),
            # Nobody can be below 0 %, so there it says nothing of a candidate that it is not.
            f"{row.n_at_least_base} ({percent(row.n_at_least_base / row.n_candidates, 0)})" if base.total else "",
        )
    return table


def density_table(thicket: ThicketDescription) -> Table:
    """Return the solution density: per sigma the share of candidates that beat the base by each margin."""
    table = Table(title="Candidates at least so many points above the base [95 % Wilson]", title_justify="left")
    table.add_column("sigma", justify="right")
    for margin in _MARGINS:
        table.add_column(f"+{margin}", justify="right")
    for row in thicket.sigmas:
        shares = {point.margin_points: point.share for point in row.density}
        cells = [
            f"{100 * share.value:.1f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"
            for share in (shares[margin] for margin in _MARGINS)
        ]
        if not row.base_total:  # nobody can be below 0 %
            cells[0] = ""
        table.add_row(f"{row.sigma:g}", *cells)
    return table


def votes_table(votes: pl.DataFrame) -> Group:
    """Return some test questions with every expert's answer, a column per question.

    Args:
        votes: question, gold, who, answer, correct; as `thickets.flows.results.runs.example_votes` gives them.
    """
    questions = votes.select("question", "gold").unique(maintain_order=True)
    heading = Text.assemble(("Test questions on which the experts differ most\n", "italic"))
    table = Table()
    table.add_column("who")
    columns = []
    for place, (question, gold) in enumerate(questions.iter_rows(), start=1):
        heading.append(f"  {place}. {plain(question)}\n")
        table.add_column(Text(f"{place}. (gold: {plain(gold)})"))
        rows = votes.filter((pl.col("question") == question) & (pl.col("gold") == gold))
        columns.append({who: (answer, right) for who, answer, right in rows.select("who", "answer", "correct").rows()})
    for who in columns[0]:
        table.add_row(who, *(_marked(*column[who]) for column in columns), style="bold" if who == "vote" else "")
    return Group(heading, table)


def runs_table(rows: Sequence[RunRow]) -> Table:
    """Return the runs of a home, a row per run; a model from a folder goes by the folder's name, to keep rows short."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("run", "date", "model", "problem", "state"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("date", "state"))
    for heading in ("N", "base", "K", "ensemble"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row.called} ({row.run_id})" if row.called else row.run_id,
            f"{row.date.astimezone():%Y-%m-%d %H:%M}",  # local time
            Path(row.model).name if row.model.startswith(("/", ".", "~")) else row.model,
            row.problem,
            row.state,
            str(row.n_candidates or ""),
            "" if row.base_accuracy is None else percent(row.base_accuracy),
            "" if row.k is None else str(row.k),
            "" if row.ensemble_accuracy is None else percent(row.ensemble_accuracy),
        )
    return table


def frame_table(frame: pl.DataFrame) -> Table:
    """Return any frame as a table; numbers to the right."""
    table = Table()
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(Text("" if cell is None else _cell(cell)) for cell in row))
    return table


def ready_queries_table(queries: Sequence[ReadyQuery], missing: Mapping[str, str]) -> Table:
    """Return the ready queries with their questions, and why some say nothing about a run."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("--named", no_wrap=True)
    table.add_column("what it answers", overflow="fold")
    for query in queries:
        why = missing.get(query.name)
        shown = query.question if why is None else f"{query.question} Not of this run: {why}."
        table.add_row(query.name, Text(shown, style="" if why is None else "dim"))
    return table


def _marked(answer: str | None, correct: bool) -> Text:
    if answer is None:
        return Text("abstains", style="dim")
    return Text(f"{'✓' if correct else '✗'} {plain(answer)}", style="green" if correct else "red")


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else plain(str(value))
