"""Terminal table of a run's rivals."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from thickets.flows.results.rivals import RivalSummary
from thickets.flows.results.rivals_text import COLUMNS, cells, rival_findings, rival_lines
from thickets.tasks.results.text import OVER_BASE_HEADING, accuracy_heading, points, scored


def rivals_table(found: Sequence[RivalSummary]) -> Table:
    """Return base, best single expert, vote and merge of a run, and its rivals, on the test split.

    Args:
        found: Of one run, at least one.
    """
    first = found[0]
    table = Table(title=f"{first.run_id}, rivals: {first.problem} on {first.model}", title_justify="left")
    rows = rival_lines(found)
    for heading in ("", accuracy_heading((row.accuracy for row in rows), "test"), OVER_BASE_HEADING, *COLUMNS):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        gap = points(row.over_base) if row.over_base else ""
        style = "bold" if row.is_rival else ""
        table.add_row(row.label, scored(row.accuracy), gap, *cells(row), style=style)
    return table


def show_rivals(found: Sequence[RivalSummary], console: Console, *, places: bool = False) -> None:
    """Print the table and what came of each rival; nothing where there is none.

    Args:
        found: The rivals of one run.
        console: Where to.
        places: Also print where each one's model and MLflow run are.
    """
    if not found:
        return
    console.print(rivals_table(found))
    for each in found:
        console.print(*map(Text, rival_findings(each)), sep="\n")
        if places:
            for name, place in (("model", each.folder / "model"), ("MLflow", each.tracking.mlflow_address)):
                console.print(f"{name + ':':8} {place}", soft_wrap=True, highlight=False, markup=False)
