"""A distillation's result as a table for a terminal, and as the text of its MLflow page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.display import duration
from flows.distill_findings import distill_findings
from flows.distill_summary import DistillSummary
from flows.findings import percent
from tasks.distillation.results import Arm
from tasks.results import Accuracy
from tasks.verdicts import points


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    accuracy: Accuracy
    n_tokens: int
    arm: Arm | None = None
    perplexity: float | None = None


def distill_table(found: DistillSummary) -> Table:
    """Base, controls of the run, experts, ensemble, and every model that was trained, on the test split."""
    title = f"{found.run_id}, distillation {found.distillation_id}: {found.problem} on {found.model}"
    table = Table(title=title, title_justify="left")
    headings = ("test accuracy [95 % Wilson]", "points over base", "points over ensemble", "tokens", "rows", "step")
    for heading in ("", *headings, "perplexity"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in _rows(found):
        arm = row.arm
        table.add_row(
            row.label,
            percent(row.accuracy),
            points(arm.minus_base) if arm else "",
            points(arm.minus_ensemble) if arm else "",
            f"{row.n_tokens:,}",
            str(arm.training.n_rows) if arm else "",
            f"{arm.training.best_step} of {arm.training.n_steps}" if arm else "",
            "" if row.perplexity is None else f"{row.perplexity:.1f}",
            style="bold" if arm is not None and arm.name == "student" else "",
        )
    return table


def show_distillation(found: DistillSummary, console: Console) -> None:
    """Print everything a person wants to see at the end of a distillation."""
    trained_s = sum(arm.training.train_s for arm in found.arms)
    lines = [
        *distill_findings(found),
        f"{found.answer_tokens:,} tokens generated for the training data, {duration(trained_s)} of training; "
        f"this session took {duration(found.wall_s)}.",
    ]
    console.print(distill_table(found), *map(Text, lines), sep="\n")
    places = [("student", found.folder / "student")] if found.student else []
    for name, place in [*places, ("folder", found.folder), ("MLflow", found.tracking.mlflow_address)]:
        console.print(f"{name + ':':8} {place}", soft_wrap=True, highlight=False, markup=False)


def distill_markdown(found: DistillSummary) -> str:
    """The same for MLflow and Prefect."""
    rows = "\n".join(
        f"| {row.label} | {percent(row.accuracy)} | {points(row.arm.minus_base) if row.arm else ''} "
        f"| {row.n_tokens:,} |"
        for row in _rows(found)
    )
    first, *others = distill_findings(found)
    name = f"{found.run_id}/{found.distillation_id}"
    return f"""{first}

| {name} | test accuracy [95 % Wilson] | points over base [95 % paired bootstrap] | tokens |
|---|---|---|---|
{rows}

{chr(10).join(f"- {line}" for line in others)}

Folder: `{found.folder}`
"""


def _rows(found: DistillSummary) -> Iterator[_Row]:
    yield _Row("base", found.base, found.n_tokens["base"], perplexity=found.base_perplexity)
    for rival in found.rivals:
        yield _Row(rival.label, rival.accuracy, rival.n_tokens)
    yield _Row("best single expert", found.best_single, found.n_tokens["best_single"])
    yield _Row(f"ensemble of {found.k}", found.ensemble, found.n_tokens["ensemble"])
    for arm in reversed(found.arms):
        label = "student" if arm.name == "student" else f"trained on {arm.label}"
        yield _Row(label, arm.test, arm.n_tokens, arm, arm.perplexity)
