"""The result on the test split as rows, for the terminal, Prefect and MLflow."""

from __future__ import annotations

from dataclasses import dataclass

from thickets.tasks.results.evaluation import Accuracy, Control, Difference, Evaluation


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of the result.

    Attributes:
        label: Name of the respondent, control or vote.
        accuracy: Its accuracy on the test split.
        over_base: Accuracy minus that of the base; None for the base itself.
        n_tokens: Tokens generated for it on the test split.
        is_ensemble: Whether the row is the ensemble, which all other rows are compared with.
        detail: What the label leaves out, e.g. the words of the best prompt.
    """

    label: str
    accuracy: Accuracy
    over_base: Difference | None
    n_tokens: int
    is_ensemble: bool = False
    detail: str | None = None


def result_rows(found: Evaluation) -> list[ResultRow]:
    """Return the rows of a result, from chance to the ensemble."""
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
            f"ensemble, {found.vote} vote of {found.k}{method}",
            found.ensemble,
            found.ensemble_minus_base,
            tokens.ensemble,
            is_ensemble=True,
        ),
    ]


def _control_row(control: Control) -> ResultRow:
    return ResultRow(control.label, control.accuracy, control.minus_base, control.n_tokens, detail=control.detail)
