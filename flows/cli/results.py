"""Commands that list and read runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from thickets.flows.cli.options import AsJson, HomeFolder, RunName, home_of, home_option, render, say


def runs(home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the runs of a home, the latest first."""
    from thickets.flows.cli.tables_results import runs_table
    from thickets.flows.results.runs import list_runs

    rows = list_runs(home_of(home))
    if as_json:
        typer.echo(json.dumps([row.model_dump(mode="json") for row in rows], indent=2))
    elif rows:
        render(runs_table(rows))
        for row in rows:
            if row.reason is not None:
                say(f"{row.run_id} is damaged: {row.reason}")
    else:
        say(f"no runs in {home_of(home).root}; start one with `thickets run quickstart`")


def show(
    name: RunName,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Every table, sentence and address, and the experts' votes on three questions."),
    ] = False,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show the result of a finished run: its table, and what matters about it in a few lines."""
    from thickets.flows.results.runs import find_run, load_summary

    folder = find_run(home_of(home), name)
    summary = load_summary(folder)
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    from thickets.flows.cli.tables_results import console, show_everything, show_summary

    if not everything:
        show_summary(summary, console(), home_option(home) if home else "")
        return
    from thickets.flows.results.runs import example_votes, open_scores

    with open_scores(home_of(home), folder) as reader:
        votes = example_votes(reader, summary)
    show_everything(summary, console(), votes)


def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Two runs or more: ids, unique prefixes, or `latest`.")
    ],
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Compare finished runs: results, paired differences, discordance of their problems, differing settings."""
    from thickets.flows.results.compare import compare as compare_runs

    comparison = compare_runs(home_of(home), names)
    if as_json:
        typer.echo(comparison.model_dump_json(indent=2))
        return
    from thickets.flows.cli.tables_comparison import show_comparison
    from thickets.flows.cli.tables_results import console

    show_comparison(comparison, console())


def report(
    name: RunName,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to; report.html in the run's folder otherwise.")
    ] = None,
    home: HomeFolder = None,
) -> None:
    """Write a finished run's report again: one HTML file with verdict, figures, plots and examples; prints its path."""
    from thickets.flows.report import report_again
    from thickets.flows.results.runs import find_run

    typer.echo(report_again(home_of(home), find_run(home_of(home), name), out))


def sql(
    name: RunName,
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT; see `show tables`.")],
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Query a run's scores with read-only SQL: tables, views and completions."""
    from thickets.flows.cli.tables_results import frame_table
    from thickets.flows.results.runs import find_run, open_scores

    folder = find_run(home_of(home), name)
    with open_scores(home_of(home), folder) as reader:
        frame = reader.query(statement)
    if as_json:
        typer.echo(json.dumps(frame.to_dicts(), indent=2, default=str))
    else:
        render(frame_table(frame))
