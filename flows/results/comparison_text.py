"""A comparison as tables of text and sentences, for the terminal, Prefect and MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from thickets.flows.results.comparison import ComparedRow, ComparedRun, Comparison, Pair
from thickets.flows.results.rows import to_get, to_use
from thickets.tasks.results.discordance import SigmaDiscordance
from thickets.tasks.results.text import accuracy_heading, markdown_table, points, scored

# Behind every accuracy, where it was counted: "1.20 M, 3.0×".
_COSTS = " (tokens to get, tokens to use in multiples of the base's)"


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of text.

    Attributes:
        title: Heading of the table.
        columns: Headings; the first column holds the rows' names.
        rows: Cells, as many per row as there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def result_columns(found: Comparison) -> TextTable:
    """Return a table with a column per run, from its model to its tokens."""
    runs = found.runs
    heading = accuracy_heading(row.accuracy for run in runs for row in run.rows)
    counted = any(row.cost for run in runs for row in run.rows)
    facts = [
        ("model", [run.model for run in runs]),
        ("problem", [run.problem for run in runs]),
        ("candidates", [f"{run.n_candidates:,}" for run in runs]),
        ("sigmas", [", ".join(f"{sigma:g}" for sigma in run.sigmas) for run in runs]),
        ("K", [str(run.k) for run in runs]),
        ("rule", [run.rule for run in runs]),
        *_accuracies(runs),
        ("gain, ensemble over base, points", [points(run.gain) for run in runs]),
        ("tokens, ensemble on the test split", [f"{_row(run, 'ensemble').n_tokens:,}" for run in runs]),
        ("tokens, whole run", [f"{run.n_tokens:,}" for run in runs]),
    ]
    return TextTable(
        f"Test split, {heading}{_COSTS if counted else ''} and gain [95 % paired bootstrap]",
        ("", *(run.run_id for run in runs)),
        tuple((name, *cells) for name, cells in facts),
    )


def discordance_table(found: Comparison) -> TextTable | None:
    """Return D per sigma beside its noise floor, or None if no sigma has a value."""
    rows = [
        (
            f"{each.sigma:g}",
            str(each.n_candidates),
            _with_interval(each.value, each.low, each.high),
            _number(each.floor),
            _with_interval(each.excess, each.excess_low, each.excess_high, sign="+"),
        )
        for each in found.discordance.sigmas
        if each.value is not None
    ]
    columns = ("sigma", "candidates", "D [95 % bootstrap]", "D from noise alone", "excess [95 % bootstrap]")
    return TextTable("Discordance of the problems, selection split", columns, tuple(rows)) if rows else None


def task_tables(found: Comparison) -> Iterator[TextTable]:
    """Yield per sigma the rank correlations of the problems and the percentiles of one problem's experts on others."""
    for each in found.discordance.sigmas:
        if each.value is None:
            continue
        names = [task.task for task in each.tasks]
        yield TextTable(
            f"sigma {each.sigma:g}: rank correlation of the problems (with itself: other questions of the problem)",
            ("", *names),
            tuple(_correlations(each)),
        )
        yield TextTable(
            f"sigma {each.sigma:g}: mean percentile of a problem's experts (by chance: 50)",
            ("experts of", "experts", *(f"on {name}" for name in names)),
            tuple(
                (name, str(count), *("" if value is None else f"{100 * value:.0f}" for value in values))
                for name, count, values in zip(names, each.n_experts, each.expert_percentiles, strict=True)
            ),
        )


def config_table(found: Comparison) -> TextTable | None:
    """Return the fields that differ in the configurations, or None if no field differs."""
    rows = tuple((each.field, *("" if value is None else str(value) for value in each.values)) for each in found.config)
    columns = ("", *(run.run_id for run in found.runs))
    return TextTable("What differs in the configurations", columns, rows) if rows else None


def sentences(found: Comparison) -> list[str]:
    """Return the verdicts, those on rivals, then the sentences on discordance."""
    paired = [pair.sentence for pair in found.pairs if pair.difference is not None]
    rivals = [f"{run.run_id}: {sentence}" for run in found.runs for sentence in run.rivals]
    return [*paired, *_unpaired_sentences(found), *rivals, *_discordance_sentences(found)]


def comparison_markdown(found: Comparison) -> str:
    """Return the whole comparison as Markdown."""
    tables = [result_columns(found), discordance_table(found), *task_tables(found), config_table(found)]
    lines = "\n".join(f"- {sentence}" for sentence in sentences(found))
    return "\n\n".join([*(_markdown(table) for table in tables if table), lines]) + "\n"


def _accuracies(runs: Sequence[ComparedRun]) -> Iterator[tuple[str, list[str]]]:
    names = dict.fromkeys(row.name for run in runs for row in run.rows)
    for name in names:
        rows = [next((row for row in run.rows if row.name == name), None) for run in runs]
        labels = {row.label for row in rows if row}
        if len(labels) == 1:
            yield labels.pop(), [_scored(row) for row in rows]
            continue
        # "ensemble, majority vote of 9" and "... of 5": the shared part names the row, the rest stands in the cells.
        heads = {label.partition(", ")[0] for label in labels}
        heading = heads.pop() if len(heads) == 1 else name.replace("_", " ")
        special = ["" if row is None else row.label.removeprefix(f"{heading}, ") for row in rows]
        yield heading, [_scored(row, note) for row, note in zip(rows, special, strict=True)]


def _scored(row: ComparedRow | None, note: str = "") -> str:
    """Write a row's accuracy, with a note and with what it took."""
    if row is None:
        return ""
    cell = f"{scored(row.accuracy)} ({note})" if note else scored(row.accuracy)
    costs = ", ".join(filter(None, (to_get(row.cost), to_use(row.times_base))))
    return f"{cell} ({costs})" if costs else cell


def _row(run: ComparedRun, name: str) -> ComparedRow:
    return next(row for row in run.rows if row.name == name)


def _correlations(each: SigmaDiscordance) -> Iterator[tuple[str, ...]]:
    for place, (task, values) in enumerate(zip(each.tasks, each.correlations, strict=True)):
        cells = [f"{value:+.2f}" for value in values]
        cells[place] = f"({'?' if task.reliability is None else format(task.reliability, '+.2f')})"
        yield task.task, *cells


def _discordance_sentences(found: Comparison) -> Iterator[str]:
    table = found.discordance
    if table.reason:
        yield f"No discordance: {table.reason}."
    for each in table.sigmas:
        where = f"sigma {each.sigma:g}"
        for task in each.left_out:
            yield f"Discordance at {where}: {task.task} is left out, since {task.reason}."
        if each.reason:
            yield f"No discordance at {where}: {each.reason}."
        elif each.is_more_than_noise is None:
            yield f"Discordance at {where}: too few candidates, or too alike, to tell it from noise."
        elif each.is_more_than_noise:
            yield f"Discordance at {where}: the problems want different candidates, beyond what noise explains."
        else:
            yield f"Discordance at {where}: no more than noise explains."


def _unpaired_sentences(found: Comparison) -> Iterator[str]:
    """Say once per reason which ensembles are not compared, and not once per pair of them."""
    by_reason: dict[str | None, list[Pair]] = {}
    for pair in found.pairs:
        if pair.difference is None:
            by_reason.setdefault(pair.reason, []).append(pair)
    for reason, pairs in by_reason.items():
        if reason is None or len(pairs) == 1:
            yield from (pair.sentence for pair in pairs)
        elif len(pairs) == len(found.pairs):
            yield f"No two of the ensembles are paired by question: {reason}, so no difference is given."
        else:
            named = "; ".join(f"{pair.ours} and {pair.theirs}" for pair in pairs)
            yield f"Ensembles that are not paired, so that no difference is given, because {reason}: {named}."


def _with_interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    if value is None or low is None or high is None:
        return _number(value, sign)
    return f"{value:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.2f}"


def _markdown(table: TextTable) -> str:
    return f"**{table.title}**\n\n{markdown_table(table.columns, table.rows)}"
