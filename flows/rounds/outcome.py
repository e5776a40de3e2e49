"""What came of a round: the model that it made, whether that stands by the validation split, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from thickets.flows.config.run import RunConfig
from thickets.flows.distillation.plan import load_distillation
from thickets.flows.results.distillation import DistillFolder, distill_folder
from thickets.flows.results.rounds import Round
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.flows.rounds.steps import merged_model
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home, RunFolder
from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.reader import read_only
from thickets.tasks.distillation.data import STUDENT
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.results.intervals import Difference
from thickets.tasks.statistics import paired_difference, shares


class RoundCost(BaseModel):
    """What the run's folder keeps of its cost as a round.

    Attributes:
        wall_s: Seconds of the call that finished it.
    """

    model_config = ConfigDict(frozen=True)

    wall_s: float

    @classmethod
    def once(cls, folder: RunFolder, wall_s: float) -> RoundCost:
        """Keep the seconds, unless an earlier call has finished the round: this one has only read it."""
        if folder.round.is_file():
            return cls.model_validate_json(folder.round.read_text(encoding="utf-8"))
        found = cls(wall_s=wall_s)
        write_text_atomically(folder.round, found.model_dump_json() + "\n")
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished round.

    Attributes:
        found: What is told of it.
        summary: Of its run.
        distillation: Its distillation as ``RUN/ID``; None where rounds merge.
        is_kept: Whether it made a model that stands: its interval on the validation split lies above 0.
    """

    found: Round
    summary: RunSummary
    distillation: str | None
    is_kept: bool

    def model(self, home: Home) -> Path:
        """Return the model as a checkpoint, written once."""
        if self.distillation is None:
            return merged_model(home, self.summary)
        return _student_folder(home, self.distillation).model(STUDENT)

    def scores_on_test(self, home: Home) -> list[float]:
        """Return the score of the model's answer to each test question, in their order."""
        if self.distillation is None:
            assert self.summary.merge is not None
            return _of_run(home, self.summary, "test", self.summary.merge.chosen.id)
        return _of_student(_student_folder(home, self.distillation), "test")


def outcome_of(home: Home, config: RunConfig, number: int, summary: RunSummary, wall_s: float) -> Outcome:
    """Judge a round.

    Args:
        home: The home.
        config: Of the round: with `distillation` where rounds distil.
        number: From 1.
        summary: Of its run.
        wall_s: Seconds of this call.
    """
    seen = summary.evaluation
    merge = next((control.accuracy for control in seen.controls if control.name == "merge"), None)
    found = Round(
        number=number,
        run_id=summary.run_id,
        model=summary.model,
        base=seen.base,
        ensemble=seen.ensemble,
        merge=merge,
        validation=summary.merge,
        n_tokens=sum(summary.n_tokens.values()),
        wall_s=RoundCost.once(find_run(home, summary.run_id), wall_s).wall_s,
    )
    if config.distillation is None:
        cost = summary.full_cost.of("merge") if summary.full_cost else None
        found = found.model_copy(update={"get": cost.get if cost else None})
        return Outcome(found, summary, None, summary.merge is not None and summary.merge.is_accepted)
    student = load_distillation(config, summary.run_id)
    name = f"{summary.run_id}/{student.distillation_id}"
    n_tokens = found.n_tokens + student.answer_tokens + sum(arm.n_tokens for arm in student.arms)
    found = found.model_copy(update={"n_tokens": n_tokens})
    if student.student is None:
        return Outcome(found, summary, name, is_kept=False)
    ours = _of_student(_student_folder(home, name), "validation")
    over_base = paired_difference(ours, _of_run(home, summary, "validation", BASE_ID))
    is_kept = over_base.low > 0
    row = student.cost.of(STUDENT) if student.cost and is_kept else None
    update = {
        "student_over_base": over_base,
        "student": student.student.test if is_kept else None,
        "get": row.get if row else None,
    }
    return Outcome(found.model_copy(update=update), summary, name, is_kept)


def last_minus_first(home: Home, first: RunSummary, last: Outcome) -> Difference:
    """Compare the last model with the first base, question by question of the test split."""
    # One configuration, so one test split: in the same order.
    return paired_difference(last.scores_on_test(home), _of_run(home, first, "test", BASE_ID))


def last_minus_ensemble(home: Home, last: Outcome) -> Difference:
    """Compare the last model with the vote of the experts of its own round, question by question of the test split."""
    seen = last.summary.evaluation
    with open_scores(home, find_run(home, last.summary.run_id)) as scores:
        cast = ballots(scores, "test", experts_of(last.summary))
    return paired_difference(last.scores_on_test(home), shares(vote(cast, seen.k, seen.rule, Consensus(seen.metric))))


def last_kept(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the last round whose model stands."""
    return next((each for each in reversed(outcomes) if each.is_kept), None)


def _student_folder(home: Home, name: str) -> DistillFolder:
    run, _, distillation = name.partition("/")
    return distill_folder(home.run(run), distillation)


def _of_student(folder: DistillFolder, split: str) -> list[float]:
    with read_only(folder.work(STUDENT), None) as scores:
        return shares(scores.answers(split, [BASE_ID]))


def _of_run(home: Home, summary: RunSummary, split: str, who: str) -> list[float]:
    with open_scores(home, find_run(home, summary.run_id)) as scores:
        return shares(scores.answers(split, [who]))
