"""Terminal tables of a comparison of runs."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from thickets.flows.results.comparison import Comparison
from thickets.flows.results.comparison_text import (
    TextTable,
    config_table,
    discordance_table,
    result_columns,
    sentences,
    task_tables,
)


def show_comparison(found: Comparison, console: Console) -> None:
    """Print results, discordance, verdicts and the fields that differ in the configurations."""
    tables = [result_columns(found), discordance_table(found), *task_tables(found)]
    for table in tables:
        if table:
            console.print(_table(table))
    for sentence in sentences(found):
        console.print(Text(sentence))
    if differences := config_table(found):
        console.print(_table(differences))


def _table(content: TextTable) -> Table:
    table = Table(title=content.title, title_justify="left")
    for place, column in enumerate(content.columns):
        table.add_column(Text(column), justify="right" if place else "left", overflow="fold")
    for row in content.rows:
        table.add_row(*map(Text, row), style="bold" if row[0].startswith("ensemble") else "")
    return table
