"""The result on the test split as rows, for the terminal, Prefect and MLflow."""

from __future__ import annotations

from dataclasses import dataclass, replace

from thickets.tasks.results.cost import RowCost, RunCost
from thickets.tasks.results.evaluation import Control, Evaluation
from thickets.tasks.results.intervals import Accuracy, Difference
from thickets.tasks.results.text import amount

GET_HEADING, USE_HEADING = "tokens to get", "tokens to use"


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of the result.

    Attributes:
        name: Its name in every run: ``base``, a control's name, ``best_single`` or ``ensemble``.
        label: Name of the respondent, control or vote.
        accuracy: Its accuracy on the test split.
        over_base: Accuracy minus that of the base; None for the base itself.
        n_tokens: Tokens generated for it on the test split.
        is_ensemble: Whether the row is the ensemble, which all other rows are compared with.
        detail: What the label leaves out, e.g. the words of the best prompt.
        cost: What it took to get and takes to use; None in runs of versions that did not count it.
        times_base: Its tokens for a question, in multiples of the base's; None where that is not known.
    """

    name: str
    label: str
    accuracy: Accuracy
    over_base: Difference | None
    n_tokens: int
    is_ensemble: bool = False
    detail: str | None = None
    cost: RowCost | None = None
    times_base: float | None = None

    @property
    def to_get(self) -> str:
        """Tokens, generated, read and trained on, until it was found: ``1.20 M``."""
        return to_get(self.cost)

    @property
    def to_use(self) -> str:
        """Tokens, generated and read, for a question, in multiples of the base's: ``3.0×``."""
        return to_use(self.times_base)


def to_get(cost: RowCost | None) -> str:
    """Write the tokens until a row was found: ``1.20 M``; empty where they are not known."""
    return "" if cost is None else amount(cost.get.n_tokens)


def to_use(times: float | None) -> str:
    """Write multiples of the base's tokens for a question: ``3.0×``; empty where they are not known."""
    return "" if times is None else f"{times:.1f}×"


def result_rows(found: Evaluation, cost: RunCost | None = None) -> list[ResultRow]:
    """Return the rows of a result, from chance to the ensemble.

    Args:
        found: The result.
        cost: What the rows took; None where that was not counted.
    """
    return [_with_cost(row, cost) for row in _rows(found)]


def times_base(row: RowCost, cost: RunCost | None) -> float | None:
    """Return the tokens of a row for a question in multiples of the base's; None where the base's are not known."""
    base = None if cost is None else cost.of("base")
    return None if base is None or not base.use_tokens else row.use_tokens / base.use_tokens


def _with_cost(row: ResultRow, cost: RunCost | None) -> ResultRow:
    own = None if cost is None else cost.of(row.name)
    return row if own is None else replace(row, cost=own, times_base=times_base(own, cost))


def _rows(found: Evaluation) -> list[ResultRow]:
    controls = {control.name: control for control in found.controls}
    chance = controls.pop("chance", None)
    tokens = found.n_tokens
    method = "" if found.method == "top_k" else f" ({found.method})"
    return [
        *([_control_row(chance)] if chance else []),
        ResultRow("base", "base", found.base, None, tokens.base),
        *map(_control_row, controls.values()),
        ResultRow(
            "best_single",
            "best single expert",
            found.best_single,
            found.best_single_minus_base,
            tokens.best_single,
        ),
        ResultRow(
            "ensemble",
            f"ensemble, {found.vote} vote of {found.k}{method}",
            found.ensemble,
            found.ensemble_minus_base,
            tokens.ensemble,
            is_ensemble=True,
        ),
    ]


def _control_row(control: Control) -> ResultRow:
    return ResultRow(
        control.name, control.label, control.accuracy, control.minus_base, control.n_tokens, detail=control.detail
    )
