"""Rivals of a run as rows of a table and as sentences, for the terminal, the report, Prefect and MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from thickets.flows.results.rivals import RivalSummary
from thickets.tasks.results.cost import Cost
from thickets.tasks.results.evaluation import Accuracy, Difference
from thickets.tasks.results.text import (
    OVER_BASE_HEADING,
    accuracy_heading,
    duration,
    markdown_table,
    percent,
    points,
    scored,
)
from thickets.tasks.results.verdicts import verdict


@dataclass(frozen=True, slots=True)
class RivalLine:
    """One row of the table.

    Attributes:
        label: Who answers.
        accuracy: On the test split.
        over_base: Minus the base; None for the base itself.
        over_ensemble: Minus the ensemble; None for the rows of the run's result.
        to_get: What it took until it was chosen; None where that is not counted.
        n_tokens: Generated on the test split.
        is_rival: It is one.
    """

    label: str
    accuracy: Accuracy
    over_base: Difference | None
    over_ensemble: Difference | None
    to_get: Cost | None
    n_tokens: int
    is_rival: bool = True


def rival_lines(found: Sequence[RivalSummary]) -> list[RivalLine]:
    """Return base, best single expert, vote and merge of the run, then its rivals.

    Args:
        found: Of one run, at least one.
    """
    run, search = found[0].evaluation, found[0].search
    tokens = run.n_tokens
    merges = [control for control in run.controls if control.name == "merge"]
    of_run = [
        RivalLine("base", run.base, None, None, Cost(), tokens.base, is_rival=False),
        RivalLine(
            "best single expert",
            run.best_single,
            run.best_single_minus_base,
            None,
            search,
            tokens.best_single,
            is_rival=False,
        ),
        *(
            RivalLine(each.label, each.accuracy, each.minus_base, None, search, each.n_tokens, is_rival=False)
            for each in merges
        ),
        RivalLine(
            f"ensemble, {run.vote} vote of {run.k}",
            run.ensemble,
            run.ensemble_minus_base,
            None,
            search,
            tokens.ensemble,
            is_rival=False,
        ),
    ]
    rivals = [
        RivalLine(
            each.rival.label,
            each.rival.test,
            each.rival.minus_base,
            each.rival.minus_ensemble,
            each.rival.cost_to_get,
            each.rival.n_tokens,
        )
        for each in found
    ]
    return [*of_run, *rivals]


def rival_findings(found: RivalSummary) -> list[str]:
    """Return one sentence per comparison, the one that matters most first, and how the rival came to its model."""
    rival = found.rival
    who = f"the model of {_named(found)}"
    cost = f"for {_times(rival.cost_to_get, found.search)} the search's tokens"
    lines = [
        verdict(rival.minus_ensemble, who, "the ensemble", cost=cost).sentence,
        verdict(rival.minus_base, who, "the base").sentence,
        verdict(rival.minus_best_single, who, "the best single expert").sentence,
    ]
    if rival.minus_merge is not None:
        lines.append(verdict(rival.minus_merge, who, "the merge of the candidates").sentence)
    if rival.chosen_step == 0:
        lines.append(f"No step of {_named(found)} was better than the base on the validation split: it is the base.")
    lines.append(
        f"{rival.label}: step {rival.chosen_step} of {rival.points[-1].step} was chosen, {percent(rival.validation)} "
        f"on the validation split; it ended because {rival.ended}. Budget: {found.budget}."
    )
    lines.append(f"It took {said(rival.cost_to_get)}; the search took {said(found.search)}.")
    return lines


def said(cost: Cost) -> str:
    """Write a cost in words."""
    trained = f", {cost.n_trained:,} trained on" if cost.n_trained else ""
    seconds = f", {duration(cost.engine_s)} of engines" if cost.engine_s else ""
    return (
        f"{cost.n_tokens:,} tokens ({cost.n_generated:,} generated, {cost.n_read:,} read{trained}), "
        f"{cost.flops:.3g} operations{seconds}"
    )


COLUMNS = ("points over ensemble", "tokens to get", "operations to get", "tokens to use")


def cells(row: RivalLine) -> tuple[str, ...]:
    """Return the cells of `COLUMNS`."""
    return (
        points(row.over_ensemble) if row.over_ensemble else "",
        "" if row.to_get is None else f"{row.to_get.n_tokens:,}",
        "" if row.to_get is None else f"{row.to_get.flops:.2g}",
        f"{row.n_tokens:,}",
    )


def rival_markdown(found: Sequence[RivalSummary]) -> str:
    """Return table and findings as Markdown, for MLflow and Prefect."""
    rows = rival_lines(found)
    table = markdown_table(
        [found[0].run_id, accuracy_heading((row.accuracy for row in rows), "test"), OVER_BASE_HEADING, *COLUMNS],
        [
            [row.label, scored(row.accuracy), points(row.over_base) if row.over_base else "", *cells(row)]
            for row in rows
        ],
    )
    lines: Iterable[str] = (f"- {line}" for each in found for line in rival_findings(each))
    return f"{table}\n\n{chr(10).join(lines)}\n"


def _named(found: RivalSummary) -> str:
    return {"es": "evolution strategies", "grpo": "GRPO"}[found.rival.method]


def _times(ours: Cost, theirs: Cost) -> str:
    return f"{ours.n_tokens / max(theirs.n_tokens, 1):.2f} times"
