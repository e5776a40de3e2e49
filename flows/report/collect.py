"""Collects the values that a report shows; the template only arranges them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from thickets.flows.report.examples import TestExample, changed_examples
from thickets.flows.report.plots import Plot, plots, rivals_plot
from thickets.flows.report.reproduce import Reproduction, reproduction
from thickets.flows.results.diagnosis import diagnose
from thickets.flows.results.distillation import DistillSummary, finished_distillations
from thickets.flows.results.distillation_text import DistillRow, distill_findings, distill_rows
from thickets.flows.results.rivals import RivalSummary, finished_rivals
from thickets.flows.results.rivals_text import RivalLine, rival_findings, rival_lines
from thickets.flows.results.rows import ResultRow, result_rows
from thickets.flows.results.sentences import RIVALS, remarks, verdicts
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import RunFolder
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.results.intervals import Accuracy, Difference
from thickets.tasks.results.verdicts import Kind, Verdict, verdict

# An expert of the ensemble: a rival in the table, but not in the headline.
_BEST_SINGLE = "best single expert"


@dataclass(frozen=True, slots=True)
class RivalRow:
    """The ensemble against one rival on the test split.

    Attributes:
        rival: With its article: "the base".
        label: In full, as in the table of results.
        kind: The verdict.
        difference: Ensemble minus rival.
        is_counted: Whether questions gained and lost are known, which they are not against a guess at random.
    """

    rival: str
    label: str
    kind: Kind
    difference: Difference
    is_counted: bool


@dataclass(frozen=True, slots=True)
class Distillation:
    """One distillation of the run.

    Attributes:
        summary: The result of the distillation.
        rows: The run's table with the trained models.
        sentences: The findings of the distillation.
    """

    summary: DistillSummary
    rows: tuple[DistillRow, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rivals:
    """What other methods made of the same base, questions and budget.

    Attributes:
        summaries: The results.
        rows: Those of the run that they are compared with, and their own.
        sentences: The findings, rival by rival.
    """

    summaries: tuple[RivalSummary, ...]
    rows: tuple[RivalLine, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything on the page, in its order.

    Attributes:
        summary: The run.
        headline: The verdict in one sentence.
        diagnosis: Why the run says nothing, or None.
        comparisons: Ensemble against each rival.
        reach: Half the width of the axis that the differences are drawn on, as a share.
        rows: The table of results.
        verdicts: The sentence of each comparison.
        remarks: The other sentences about the run.
        plots: In order.
        examples: Test questions on which base and vote differ; empty without scores.
        distillations: The finished distillations of the run; may be empty.
        rivals: The finished rivals of the run; None if there are none.
        reproduction: How to repeat the run.
    """

    template: ClassVar[str] = "template.html.jinja"

    summary: RunSummary
    headline: str
    diagnosis: str | None
    comparisons: tuple[RivalRow, ...]
    reach: float
    rows: tuple[ResultRow, ...]
    verdicts: tuple[Verdict, ...]
    remarks: tuple[str, ...]
    plots: tuple[Plot, ...]
    examples: tuple[TestExample, ...]
    distillations: tuple[Distillation, ...]
    rivals: Rivals | None
    reproduction: Reproduction


def collect(folder: RunFolder, summary: RunSummary, scores: ScoreQueries | None, extra: Sequence[Plot] = ()) -> Report:
    """Collect the values of a run's report; leave out what an older run did not keep."""
    rivals = comparisons(summary)
    found = diagnose(summary)
    others, students = finished_rivals(folder), finished_distillations(folder)
    board = scores.common_scores("selection") if scores else None
    return Report(
        summary=summary,
        headline=headline(summary, [rival for rival in rivals if rival.label != _BEST_SINGLE]),
        diagnosis=None if found is None else found.sentence,
        comparisons=rivals,
        reach=max(0.01, *(abs(end) for rival in rivals for end in (rival.difference.low, rival.difference.high))),
        rows=tuple(result_rows(summary.evaluation, summary.full_cost)),
        verdicts=tuple(verdicts(summary)),
        remarks=tuple(remarks(summary)),
        plots=(*plots(summary, board), *extra, *([rivals_plot(others, students)] if others else [])),
        examples=changed_examples(scores, summary) if scores else (),
        distillations=_distillations(students),
        rivals=_rivals(others),
        reproduction=reproduction(folder, summary),
    )


def distillations_of(folder: RunFolder) -> tuple[Distillation, ...]:
    """Return the finished distillations of a run."""
    return _distillations(finished_distillations(folder))


def rivals_of(folder: RunFolder) -> Rivals | None:
    """Return the finished rivals of a run; None if there are none."""
    return _rivals(finished_rivals(folder))


def _distillations(found: Sequence[DistillSummary]) -> tuple[Distillation, ...]:
    return tuple(Distillation(each, tuple(distill_rows(each)), tuple(distill_findings(each))) for each in found)


def _rivals(found: tuple[RivalSummary, ...]) -> Rivals | None:
    if not found:
        return None
    sentences = tuple(sentence for each in found for sentence in rival_findings(each))
    return Rivals(found, tuple(rival_lines(found)), sentences)


def comparisons(summary: RunSummary) -> tuple[RivalRow, ...]:
    """Compare the ensemble with the base, every control, the best single expert, and chance last."""
    found = summary.evaluation
    controls = [
        _compare(control.ensemble_minus, RIVALS[control.name], control.label)
        for control in found.controls
        if control.name in RIVALS
    ]
    chance = [
        _compare(control.ensemble_minus, "chance", control.label, control.accuracy)
        for control in found.controls
        if control.name == "chance"
    ]
    return (
        _compare(found.ensemble_minus_base, "the base", "base"),
        *controls,
        _compare(found.ensemble_minus_best_single, "the best single expert", _BEST_SINGLE),
        *chance,
    )


def headline(summary: RunSummary, rivals: Iterable[RivalRow]) -> str:
    """Return all verdicts as one sentence: ``The ensemble of 9 experts is better than the base, but ...``."""
    named: dict[Kind, list[str]] = {"better": [], "not distinguishable": [], "worse": []}
    for rival in rivals:
        named[rival.kind].append(rival.rival)
    parts = [
        f"{kind} {'from' if kind == 'not distinguishable' else 'than'} {_listed(names)}"
        for kind, names in named.items()
        if names
    ]
    k = summary.evaluation.k
    who = f"The ensemble of {k} experts" if k > 1 else "The ensemble of one expert"
    return f"{who} is {', but '.join(parts[:2])}{''.join(f', and {part}' for part in parts[2:])}."


def _compare(difference: Difference, rival: str, label: str, score: Accuracy | None = None) -> RivalRow:
    is_expectation = score is not None and score.is_exact
    kind = verdict(difference, "the ensemble", rival).kind
    return RivalRow(rival, label, kind, difference, is_counted=difference.n is not None and not is_expectation)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
