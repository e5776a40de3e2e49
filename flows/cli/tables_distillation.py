"""Terminal table of a distillation's result."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from thickets.flows.results.distillation import DistillSummary
from thickets.flows.results.distillation_text import distill_findings, distill_rows
from thickets.flows.results.rows import GET_HEADING, USE_HEADING
from thickets.tasks.results.text import accuracy_heading, duration, points, scored


def distill_table(found: DistillSummary) -> Table:
    """Return the results of the run's rows and of every trained model on the test split."""
    title = f"{found.run_id}, distillation {found.distillation_id}: {found.problem} on {found.model}"
    table = Table(title=title, title_justify="left")
    rows = distill_rows(found)
    costs = (GET_HEADING, USE_HEADING) if found.cost else ("tokens",)
    accuracies = accuracy_heading(row.accuracy for row in rows)
    for heading in ("", accuracies, "points over base", "points over ensemble", *costs, "perplexity"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(
            row.label,
            scored(row.accuracy),
            points(row.over_base) if row.over_base else "",
            points(row.arm.minus_ensemble) if row.arm else "",
            *((row.to_get, row.to_use) if found.cost else (f"{row.n_tokens:,}",)),
            "" if row.perplexity is None else f"{row.perplexity:.1f}",
            style="bold" if row.is_student else "",
        )
    return table


def show_distillation(found: DistillSummary, console: Console) -> None:
    """Print table, findings and addresses at the end of a distillation."""
    lines = [*distill_findings(found), f"This session took {duration(found.wall_s)}."]
    console.print(distill_table(found), *map(Text, lines), sep="\n")
    places = [("student", found.folder / "student")] if found.student else []
    for name, place in [*places, ("folder", found.folder), ("MLflow", found.tracking.mlflow_address)]:
        console.print(f"{name + ':':8} {place}", soft_wrap=True, highlight=False, markup=False)
