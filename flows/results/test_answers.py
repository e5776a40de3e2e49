"""A finished run's own answers to its test split, for models that are compared with it later."""

from __future__ import annotations

from dataclasses import dataclass, field

from thickets.flows.results.runs import open_scores
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.home import Home
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.statistics import accuracy_of, shares
from thickets.tasks.types import Average, Candidate


@dataclass(frozen=True, slots=True)
class TestAnswers:
    """The score of each answer to the test split, 0 to 1, in the order of its examples.

    Attributes:
        base: The base.
        best_single: The candidate with the best selection score, whether it votes or not.
        weight_average: The mean of the experts' weights; None where the run did without that control.
        merge: The merge that beat the base on validation; None where there is none.
        ensemble: The vote, as the run holds it.
        base_validation: The base's accuracy on the validation split.
        arms: The models that were trained, by name, as they are judged.
    """

    base: list[float]
    best_single: list[float]
    weight_average: list[float] | None
    merge: list[float] | None
    ensemble: list[float]
    base_validation: Accuracy
    arms: dict[str, list[float]] = field(default_factory=dict)


def read_test_answers(home: Home, summary: RunSummary) -> TestAnswers:
    """Read a finished run's own answers to the test split.

    Args:
        home: Of the run.
        summary: What it found.
    """
    found, run_id = summary.evaluation, summary.run_id
    experts = tuple(Candidate(int(row.seed), row.sigma) for row in summary.experts)
    controls = {control.name for control in found.controls}
    with open_scores(home, home.run(run_id)) as scores:

        def on_test(who: str) -> list[float]:
            return shares(scores.answers("test", [who]))

        merge = summary.merge.chosen.id if summary.merge is not None and "merge" in controls else None
        voted = vote(ballots(scores, "test", experts_of(summary)), found.k, found.rule, Consensus(found.metric))
        return TestAnswers(
            base=on_test(BASE_ID),
            best_single=on_test(scores.leaderboard("selection", limit=1)["candidate_id"][0]),
            weight_average=on_test(Average(experts).id) if "weight_average" in controls else None,
            merge=None if merge is None else on_test(merge),
            ensemble=shares(voted),
            base_validation=accuracy_of(scores.answers("validation", [BASE_ID])),
        )
