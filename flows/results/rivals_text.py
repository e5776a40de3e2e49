"""Rivals of a run as rows of a table and as sentences, for the terminal, the report, Prefect and MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from thickets.flows.results.cost import in_words
from thickets.flows.results.made import verdict_sentences
from thickets.flows.results.rivals import RivalSummary
from thickets.flows.results.rows import result_rows, times_base, to_use
from thickets.tasks.results.cost import Cost
from thickets.tasks.results.intervals import Accuracy, Difference
from thickets.tasks.results.rival_method import METHOD_NAMES
from thickets.tasks.results.text import (
    OVER_BASE_HEADING,
    accuracy_heading,
    amount,
    markdown_table,
    percent,
    points,
    scored,
)


@dataclass(frozen=True, slots=True)
class RivalLine:
    """One row of the table.

    Attributes:
        label: Who answers.
        accuracy: On the test split.
        over_base: Minus the base; None for the base itself.
        over_ensemble: Minus the ensemble; None for the rows of the run's result.
        to_get: What it took until it was chosen; None where that is not known.
        times_base: Its tokens for a question, in multiples of the base's; None likewise.
        is_rival: It is one.
    """

    label: str
    accuracy: Accuracy
    over_base: Difference | None
    over_ensemble: Difference | None
    to_get: Cost | None
    times_base: float | None
    is_rival: bool = True

    @property
    def costs(self) -> tuple[str, str, str]:
        """Tokens and operations to get it, and tokens to use it, in words; empty where they are not known."""
        got = self.to_get
        return (
            "" if got is None else amount(got.n_tokens),
            "" if got is None else f"{amount(got.flops)}FLOP" if got.flops else "0",
            to_use(self.times_base),
        )


def rival_lines(found: Sequence[RivalSummary]) -> list[RivalLine]:
    """Return base, best single expert, vote and merge of the run, then its rivals.

    Args:
        found: Of one run, at least one.
    """
    of_run = [
        RivalLine(
            row.label,
            row.accuracy,
            row.over_base,
            None,
            None if row.cost is None else row.cost.get,
            row.times_base,
            is_rival=False,
        )
        for row in result_rows(found[0].evaluation, found[0].cost)
        if row.name in ("base", "best_single", "merge", "ensemble")
    ]
    rivals = [
        RivalLine(
            each.rival.label,
            each.rival.test,
            each.rival.minus_base,
            each.rival.minus_ensemble,
            each.rival.cost_to_get,
            times_base(each.rival.cost, each.cost),
        )
        for each in found
    ]
    return [*of_run, *rivals]


def rival_findings(found: RivalSummary) -> list[str]:
    """Return one sentence per comparison, the one that matters most first, and how the rival came to its model."""
    rival = found.rival
    who = f"the model of {_named(found)}"
    minus = {
        "the ensemble": rival.minus_ensemble,
        "the base": rival.minus_base,
        "the best single expert": rival.minus_best_single,
        "the merge of the candidates": rival.minus_merge,
    }
    cost = f"for {_times(rival.cost_to_get, found.cost.search)} the search's tokens"
    lines = verdict_sentences(who, minus, {"the ensemble": cost})
    if rival.chosen_step == 0:
        lines.append(f"No step of {_named(found)} was better than the base on the validation split: it is the base.")
    lines.append(
        f"{rival.label[:1].upper()}{rival.label[1:]}: step {rival.chosen_step} of {rival.points[-1].step} was chosen, "
        f"{percent(rival.validation)} on the validation split; it ended because {rival.ended}. Budget: {found.budget}."
    )
    lines.append(f"It took {in_words(rival.cost_to_get)}; the search took {in_words(found.cost.search)}.")
    return lines


COLUMNS = ("points over ensemble", "tokens to get", "operations to get", "tokens to use")


def cells(row: RivalLine) -> tuple[str, ...]:
    """Return the cells of `COLUMNS`."""
    return (points(row.over_ensemble) if row.over_ensemble else "", *row.costs)


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
    return METHOD_NAMES[found.rival.method]


def _times(ours: Cost, theirs: Cost) -> str:
    return f"{ours.n_tokens / max(theirs.n_tokens, 1):.2f} times"
