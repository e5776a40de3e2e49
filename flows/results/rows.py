"""The test split's verdict, row by row: what the terminal, Prefect and MLflow show."""

from __future__ import annotations

from dataclasses import dataclass

from thickets.tasks.results.evaluation import Accuracy, Control, Difference, Evaluation


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of the result.

    Attributes:
        label: Who answered.
        accuracy: How well.
        over_base: Accuracy minus that of the base; None for the base itself.
        n_tokens: Tokens generated for it on the test split.
        is_ensemble: Whether it is what all others are compared with.
        detail: What the label has no room for.
    """

    label: str
    accuracy: Accuracy
    over_base: Difference | None
    n_tokens: int
    is_ensemble: bool = False
    detail: str | None = None


def result_rows(found: Evaluation) -> list[ResultRow]:
    """From chance to the ensemble."""
    controls = {control.name: control for control in found.controls}
    chance = controls.pop("chance", None)
    tokens = found.n_tokens
    method = "" if found.method == "top_k" else f" ({found.method})"
    return [
        *([_control_row(chance)] if chance else []),
        ResultRow("base", found.base, None, tokens.base),
        *map(_control_row, controls.values()),
        ResultRow("best single expert", found.best_single, found.best_single_minus_base, tokens.best_single),
        ResultRow(
            f"ensemble, {found.rule} vote of {found.k}{method}",
            found.ensemble,
            found.ensemble_minus_base,
            tokens.ensemble,
            is_ensemble=True,
        ),
    ]


def _control_row(control: Control) -> ResultRow:
    return ResultRow(control.label, control.accuracy, control.minus_base, control.n_tokens, detail=control.detail)
