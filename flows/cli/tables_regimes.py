"""Terminal tables of several models on one problem."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from thickets.flows.results.regimes_text import (
    COLUMNS,
    SIGMA_COLUMNS,
    headline,
    regimes_rows,
    regimes_sentences,
    sigma_rows,
)
from thickets.tasks.results.regimes import Regimes


def show_regimes(found: Regimes, console: Console) -> None:
    """Print a line per model, one per model and sigma, and what can be said of them."""
    margin = f"density: candidates {found.margin_points} points above the base, selection split"
    # A column per model: there are fewer of them than there is to say of each.
    names, *facts = zip(COLUMNS, *regimes_rows(found), strict=True)
    console.print(_table(f"{found.problem}: test split; {margin}", ("", *names[1:]), facts))
    console.print(_table("Every sigma, selection split", SIGMA_COLUMNS, sigma_rows(found)))
    console.print(Text(headline(found), style="bold"))
    for sentence in regimes_sentences(found):
        console.print(Text(sentence))


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=Text(title), title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
