"""Terminal table of several rounds."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from thickets.flows.results.rounds import Rounds
from thickets.flows.results.rounds_text import rounds_columns, rounds_rows, rounds_sentences


def show_rounds(found: Rounds, console: Console) -> None:
    """Print a line per round, and what came of them."""
    table = Table(title="Rounds: test split", title_justify="left")
    for column in rounds_columns(found):
        table.add_column(column, overflow="fold")
    for row in rounds_rows(found):
        table.add_row(*map(Text, row))
    console.print(table)
    for sentence in rounds_sentences(found):
        console.print(Text(sentence))
