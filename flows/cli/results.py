"""Commands that list and read runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated

import typer

from thickets.flows.cli.options import AsJson, HomeFolder, RunName, home_of, home_option, render, say
from thickets.storage.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

    from thickets.storage.home import RunFolder

_SHOWN_ROWS = 1000


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
    from thickets.flows.cli.tables_rivals import show_rivals
    from thickets.flows.results.rivals import finished_rivals

    rivals = finished_rivals(folder)
    if not everything:
        show_summary(summary, console(), home_option(home) if home else "")
        show_rivals(rivals, console())
        return
    from thickets.flows.results.runs import example_votes, open_scores

    with open_scores(home_of(home), folder) as reader:
        votes = example_votes(reader, summary)
    show_everything(summary, console(), votes)
    show_rivals(rivals, console(), places=True)


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
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run id, a unique prefix of one, or `latest`, which is a run; or the id of a group (of "
            "several problems, models or rounds), or a prefix of it.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to; report.html in the run's folder otherwise.")
    ] = None,
    home: HomeFolder = None,
) -> None:
    """Write a finished run's report again: one HTML file with verdict, figures, plots and examples; prints its path."""
    from thickets.flows.report import report_again
    from thickets.flows.results.groups import find_group, group_with
    from thickets.flows.results.runs import find_run

    where = home_of(home)
    try:
        run = find_run(where, name)
    except InputError:
        # Its runs begin with the configuration's name too, so a prefix that fits several may still name one group.
        if name == "latest" or (group := find_group(where, name)) is None:
            raise
        from thickets.flows.report.group import group_report_again

        typer.echo(group_report_again(where, group, out))
        return
    typer.echo(report_again(where, run, out))
    if name == "latest" and (group := group_with(where, run.run_id)) is not None:
        say(f"this is one run of several; their page: thickets report {group.group_id}{home_option(where.root)}")


def log(
    name: RunName,
    uri: Annotated[
        str | None,
        typer.Option("--uri", metavar="URI", help="Another MLflow store (default: where the run was to be logged)."),
    ] = None,
    home: HomeFolder = None,
) -> None:
    """Log a finished run in MLflow from its folder: what was lost while the server was away, or into another store."""
    from thickets.flows.publish.log import log_again
    from thickets.flows.results.runs import find_run

    folder = find_run(home_of(home), name)
    say(f"logging {folder.run_id}")
    typer.echo(log_again(home_of(home), folder, uri))


def sql(
    name: RunName,
    statement: Annotated[str | None, typer.Argument(metavar="SQL", help="One SELECT; see `show tables`.")] = None,
    named: Annotated[
        str | None, typer.Option("--named", metavar="QUERY", help="A ready query instead, by its name in --list.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the ready queries; with --json also their SQL.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=0, help="At most so many rows.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write every row to FILE.parquet or FILE.csv instead; replaces it."),
    ] = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Query a run with read-only SQL: its scores, votes, prompts and completions; prints at most 1,000 rows."""
    from thickets.flows.results.ready_queries import ready_query
    from thickets.flows.results.runs import find_run, open_scores
    from thickets.flows.results.table_file import check_name, write_table

    if (statement is not None) + (named is not None) + listed != 1:
        raise InputError("SQL: give a statement, or --named QUERY, or --list, and one of them alone")
    if out is not None:
        check_name(out)
    folder = find_run(home_of(home), name)
    if listed:
        _list_queries(folder, as_json)
        return
    asked = statement if named is None else ready_query(named, folder).sql
    assert asked is not None
    with open_scores(home_of(home), folder) as reader, reader.stream(asked) as found:
        rows = _head(found, limit)
        if out is not None:
            n_rows = write_table(rows, out)
            if as_json:
                typer.echo(json.dumps({"file": str(out), "rows": n_rows}, indent=2))
            else:
                say(f"{n_rows:,} rows in {out}")
        elif as_json:
            _print_json(rows)
        else:
            _print_table(rows)


def _list_queries(folder: RunFolder, as_json: bool) -> None:
    from thickets.flows.results.ready_queries import not_of, ready_queries

    queries, missing = [*ready_queries().values()], not_of(folder)
    if as_json:
        rows = [
            {
                "name": query.name,
                "question": query.question,
                "not_of_this_run": missing.get(query.name),
                "sql": query.sql,
            }
            for query in queries
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    from thickets.flows.cli.tables_results import ready_queries_table

    render(ready_queries_table(queries, missing))


def _head(rows: pa.RecordBatchReader, limit: int | None) -> pa.RecordBatchReader:
    """Return the first rows of a result; no more of it is made than they need."""
    if limit is None:
        return rows
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        left = limit
        while left > 0 and (batch := next(rows, None)) is not None:
            yield batch.slice(0, left)
            left -= batch.num_rows

    return pa.RecordBatchReader.from_batches(rows.schema, batches())


def _print_table(rows: pa.RecordBatchReader) -> None:
    """Print the first rows of a result, and say so if there are more."""
    import pyarrow as pa

    from thickets.flows.cli.tables_results import frame_table
    from thickets.storage.scores.sql import plain_frame

    batches: list[pa.RecordBatch] = []
    while sum(batch.num_rows for batch in batches) <= _SHOWN_ROWS and (batch := next(rows, None)) is not None:
        batches.append(batch)
    table = pa.Table.from_batches(batches, rows.schema)
    if not table.num_rows:
        say("no rows")
        return
    render(frame_table(plain_frame(table.slice(0, _SHOWN_ROWS))))
    if table.num_rows > _SHOWN_ROWS:
        say(f"these are the first {_SHOWN_ROWS:,} rows; --out FILE.parquet or --out FILE.csv writes all there are")


def _print_json(rows: pa.RecordBatchReader) -> None:
    """Print every row of a result, a batch in memory at a time, as one list."""
    from thickets.storage.scores.sql import plain_frame

    separator = "[\n"
    for batch in rows:
        for row in plain_frame(batch).iter_rows(named=True):
            typer.echo(separator + indent(json.dumps(row, indent=2, default=str), "  "), nl=False)
            separator = ",\n"
    typer.echo("[]" if separator == "[\n" else "\n]")
