"""Why a run says nothing: the likely cause, and what to change in its configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from thickets.flows.results.summary import AnswerCounts, RunSummary
from thickets.tasks.results.text import percent

Cause: TypeAlias = Literal[
    "sigma too large", "cut off", "no answers", "all wrong", "all right", "sigma too small", "one expert"
]
# From this share on, answers that fail in one way are "nearly all"; chosen, not derived.
_NEARLY_ALL = 0.95
# From this share on, the base fails in the same way, so that the noise is not the cause; likewise.
_BASE_TOO = 0.5
# Up to this accuracy the base has nothing that noise could take from it; likewise.
_NEARLY_NOTHING = 0.05


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The likely cause for which a run says nothing.

    Attributes:
        cause: The cause.
        sentence: What was seen, what it means, and the field to change, in one line.
    """

    cause: Cause
    sentence: str

    @property
    def explains_verdicts(self) -> bool:
        """Whether the cause is behind verdicts of "not distinguishable"; one expert can be compared like several."""
        return self.cause != "one expert"


def diagnose(summary: RunSummary) -> Diagnosis | None:
    """Find the likely cause for which a run says nothing; None for a run that says something.

    A run whose ensemble is better than the base says something, whatever else is odd about it, unless one expert alone
    answers.
    """
    if summary.evaluation.ensemble_minus_base.low <= 0:
        for cause, find in _CAUSES.items():
            if (sentence := find(summary)) is not None:
                return Diagnosis(cause, sentence)
    if summary.evaluation.k == 1:
        return Diagnosis("one expert", _one_expert(summary))
    return None


def _sigma_too_large(summary: RunSummary) -> str | None:
    """Every candidate is far below the base, or fails as the base does not."""
    base, best = summary.base_selection, summary.thicket.best.observed
    change = f"lower population.sigmas (now {_sigmas(summary)}), for instance to a tenth"
    if best.high < base.low or (best.total == 0 and base.value > _NEARLY_NOTHING):
        return (
            f"Nothing is left of the base: it has {percent(base.value)} of {summary.common_questions}, the best of "
            f"{summary.n_candidates:,} candidates {percent(best.value)}. The noise is likely too strong: {change}."
        )
    if 2 * _mean_accuracy(summary) > base.value:
        return None  # whatever form their answers have, it costs them little
    for failed, how in ((_cut_off, "are cut off"), (_abstained, "hold no answer")):
        if (shares := _shares(summary, failed)) and shares[1] >= _NEARLY_ALL and shares[0] < _BASE_TOO:
            return (
                f"Nothing is left of the base: {percent(shares[1], 0)} of the candidates' answers {how}, of the base's "
                f"{percent(shares[0], 0)}. The noise is likely too strong: {change}."
            )
    return None


def _answers_cut_off(summary: RunSummary) -> str | None:
    shares = _shares(summary, _cut_off)
    if shares is None or summary.answers is None or shares[1] < _NEARLY_ALL or _mean_accuracy(summary) > 0.5:
        return None  # cut off and yet mostly right: nothing of importance is lost
    return (
        f"{percent(shares[1], 0)} of the candidates' answers were cut off at {summary.answers.max_tokens} tokens (of "
        f"the base's {percent(shares[0], 0)}), likely before they came to the point: raise decoding.max_tokens, or ask "
        "for short answers in problem.instruction."
    )


def _no_answers(summary: RunSummary) -> str | None:
    shares = _shares(summary, _abstained)
    if shares is None or shares[1] < _NEARLY_ALL:
        return None
    return (
        f"In {percent(shares[1], 0)} of the candidates' replies no answer was found (of the base's in "
        f"{percent(shares[0], 0)}): likely they have another form than the one that is looked for. Say in "
        "problem.instruction how to answer; questions from a file may take another problem.verifier."
    )


def _all_wrong(summary: RunSummary) -> str | None:
    if summary.thicket.best.observed.total:
        return None
    return (
        f"All {summary.n_candidates:,} candidates have 0 % of {summary.common_questions}, the base "
        f"{percent(summary.base_selection.value)}: the questions are likely too hard for this model, or right answers "
        "are not taken for right. Take another model or easier questions (problem.options), and see in `thickets show "
        f"{summary.run_id} --all` what was answered; how a file's answers are judged is problem.verifier."
    )


def _all_right(summary: RunSummary) -> str | None:
    if any(row.quantiles[0] < row.unit * row.n_examples for row in summary.thicket.sigmas):
        return None
    return (
        f"All {summary.n_candidates:,} candidates have 100 % of {summary.common_questions}, so none is better than "
        "another: the questions are likely too easy for this model. Take harder ones (problem.options, or another "
        "problem) or a smaller model."
    )


def _sigma_too_small(summary: RunSummary) -> str | None:
    """No candidate has another score than the base, and no test question changes hands."""
    gap = summary.evaluation.ensemble_minus_base
    scores = {row.points(score) for row in summary.thicket.sigmas for score in (row.quantiles[0], row.quantiles[-1])}
    if gap.n_better or gap.n_worse or scores != {summary.base_selection.total}:
        return None
    return (
        f"Every candidate has the base's score, {percent(summary.base_selection.value)} of {summary.common_questions}: "
        f"the noise likely changes nothing. Raise population.sigmas (now {_sigmas(summary)}), for instance tenfold."
    )


def _one_expert(summary: RunSummary) -> str:
    tried = {point.k for point in summary.validation_curve}
    why = (
        "selection.k_values holds no larger one"
        if tried <= {1}
        else f"no larger K was better on {summary.split_sizes['validation']} validation questions"
    )
    change = "name larger ones there" if tried <= {1} else "raise data.validation, or take 1 out of selection.k_values"
    return f"K = 1: one expert answers alone, so no vote was measured, since {why}; {change}."


_CAUSES: dict[Cause, Callable[[RunSummary], str | None]] = {
    "sigma too large": _sigma_too_large,
    "cut off": _answers_cut_off,
    "no answers": _no_answers,
    "all wrong": _all_wrong,
    "all right": _all_right,
    "sigma too small": _sigma_too_small,
}
"""In this order: an earlier cause explains a later one."""


def _shares(summary: RunSummary, failed: Callable[[AnswerCounts], int]) -> tuple[float, float] | None:
    """Return the shares of the base's and of the candidates' answers that failed in one way; None where not counted."""
    found = summary.answers
    if found is None:
        return None
    return failed(found.base) / found.base.n, failed(found.candidates) / found.candidates.n


def _mean_accuracy(summary: RunSummary) -> float:
    n = sum(row.n_candidates for row in summary.sigmas)
    return sum(row.n_candidates * row.mean_accuracy for row in summary.sigmas) / n


def _cut_off(counts: AnswerCounts) -> int:
    return counts.n_cut_off


def _abstained(counts: AnswerCounts) -> int:
    return counts.n_abstained


def _sigmas(summary: RunSummary) -> str:
    return ", ".join(f"{row.sigma:g}" for row in summary.sigmas)
