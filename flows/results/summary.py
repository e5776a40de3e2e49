"""The result of a run as one value: returned by the flow, kept as summary.json, shown by `thickets show`."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from thickets.tasks.adaptive.token_limit import TokenLimit
from thickets.tasks.results.cost import RunCost
from thickets.tasks.results.evaluation import CurvePoint, Evaluation
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.merging import MergeChoice
from thickets.tasks.results.pilot import Pilot
from thickets.tasks.results.racing import Race
from thickets.tasks.results.thicket import ThicketDescription
from thickets.tasks.results.thinking import Thinking
from thickets.tasks.types import Candidate


class SigmaRow(BaseModel):
    """The candidates of one sigma on the selection split; candidates of different sigmas are never pooled.

    Attributes:
        mean_accuracy: Mean of the candidates' mean scores, which are shares of correct answers unless these are graded.
        max_accuracy: The largest of them.
        n_at_least_base: Candidates that score as high as the base, or higher.
    """

    model_config = ConfigDict(frozen=True)

    sigma: float
    n_candidates: int
    mean_accuracy: float
    max_accuracy: float
    n_at_least_base: int


class ExpertRow(BaseModel):
    """One selected expert. The seed is text: it does not fit a JavaScript number.

    Attributes:
        rank: Place in the order of the chosen method.
        weight: Number of votes in a weighted vote.
        points: Sum of the scores in thousandths; None where each correct answer is worth 1000, and others nothing.
    """

    model_config = ConfigDict(frozen=True)

    rank: int
    seed: str
    sigma: float
    n_correct: int
    n: int
    weight: int
    points: int | None = None

    @property
    def mean_score(self) -> float:
        """Mean score on the selection split; the share of correct answers where they are right or wrong."""
        return self.n_correct / self.n if self.points is None else self.points / (1000 * self.n)


class EngineUse(BaseModel):
    """How the engines spent a session; all zeros if there was nothing left to score.

    Attributes:
        n_engines: Engines that ran at the same time.
        n_answers: Answers generated.
        scoring_s: Seconds in which shards were being scored.
        start_s: Seconds of building engines, summed over engines.
        load_s: Seconds of loading candidates into engines, summed over engines.
        generate_s: Seconds of generating, summed over engines.
        seconds: What rows of the result took in all sessions, by the names of `RunCost.seconds`.
    """

    model_config = ConfigDict(frozen=True)

    n_engines: int = 0
    n_answers: int = 0
    scoring_s: float = 0.0
    start_s: float = 0.0
    load_s: float = 0.0
    generate_s: float = 0.0
    seconds: dict[str, float] = {}

    @property
    def figures(self) -> dict[str, float]:
        """What the session took, without what rows of the result took in all."""
        return self.model_dump(exclude={"seconds"})

    @property
    def generating_share(self) -> float | None:
        """Share of the engines' time since they were built in which they generated; None if they did not."""
        available_s = self.n_engines * self.scoring_s - self.start_s
        return self.generate_s / available_s if available_s > 0 and self.generate_s else None


class TrackingLinks(BaseModel):
    """Ids and addresses of the run in MLflow and in Prefect."""

    model_config = ConfigDict(frozen=True)

    mlflow_uri: str
    mlflow_run_id: str
    mlflow_address: str
    prefect_flow_run_id: str | None
    prefect_address: str | None


class BudgetUse(BaseModel):
    """The budget of a run; what the run did cost is in its tokens and its time.

    Attributes:
        given: The budget in words: ``2,000,000 tokens``, ``30.0 minutes``.
        n_most: Candidates in the configuration, of which the budget may pay for fewer.
    """

    model_config = ConfigDict(frozen=True)

    given: str
    n_most: int


class AnswerCounts(BaseModel):
    """What became of some answers, right or wrong.

    Attributes:
        n: Answers.
        n_cut_off: Those that the limit of tokens ended.
        n_abstained: Those in which the problem finds no answer, cut off or not.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    n_cut_off: int
    n_abstained: int


class SelectionAnswers(BaseModel):
    """What became of the answers to the selection questions that every candidate was asked.

    Attributes:
        max_tokens: The limit of every answer.
        base: The base's.
        candidates: All candidates' together.
    """

    model_config = ConfigDict(frozen=True)

    max_tokens: int
    base: AnswerCounts
    candidates: AnswerCounts


class VerdictChange(BaseModel):
    """How the verdicts differ from those of an earlier run on the same answers.

    Attributes:
        run_id: The earlier run.
        what: What was changed, in words: ``verifier numeric -> math``.
        n: Answers that both runs have judged.
        n_lost: Of them, right there and wrong here.
        n_gained: Wrong there and right here.
        n_read: Read as another answer, or as none, and right or wrong in both.
        n_graded: Read as the same answer, with another score, and right or wrong in both.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    what: str
    n: int
    n_lost: int
    n_gained: int
    n_read: int
    n_graded: int

    @property
    def sentence(self) -> str:
        """The change as one line."""
        n_differ = self.n_lost + self.n_gained + self.n_read + self.n_graded
        kinds = {
            "right -> wrong": self.n_lost,
            "wrong -> right": self.n_gained,
            "answers read differently": self.n_read,
            "graded differently": self.n_graded,
        }
        which = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
        return f"{self.what}: {n_differ:,} of {self.n:,} verdicts differ{f' ({which})' if which else ''}"


class RunSummary(BaseModel):
    """The result of a run.

    Attributes:
        base_selection: Accuracy of the base on the selection split.
        validation_curve: Accuracy of the vote for every K up to the largest tried, by every method and vote rule.
        evaluation: The result on the test split.
        experts: The K experts that vote.
        n_tokens: Tokens generated per split, for the controls beyond the splits, and for learning the limit; earlier
            sessions included.
        wall_s: Seconds of this session.
        engine: How the engines spent this session.
        thicket: Description of the candidates around the base and of the experts.
        version: Version of Thickets in this session.
        pilot: Result of the pilot on the first candidates; None without a pilot, or if a budget ended before it.
        race: Result of racing; None without racing. With racing, `base_selection`, `sigmas` and the candidates' part
            of `thicket` are about the `race.n_common` questions that every candidate was asked.
        budget: The budget of the run; None without a budget, and then all candidates were scored.
        limit: The limit on the length of answers that was learned; None if the configuration sets the limit.
        answers: What became of the answers to the selection split; None in runs of versions that did not count it.
        dropped: Rows that were too long for the model and left out of their split (`data.too_long`), by split.
        thinking: Tokens spent thinking on the test split; None where replies hold no thoughts.
        rescored_from: Id of the run whose answers were judged again; None unless `thickets rescore` began this run.
        changed_verdicts: How the verdicts differ from an earlier run's on the same answers; None without one.
        merge: One model made of the population's noise, on the validation split; None where none was tried.
        sandbox: How programs of the model were shut in (`thickets.tasks.sandbox.launch`); None where none was run.
        by_likelihood: Whether answers are the likeliest labels (`problem.scoring`), and none was generated.
        cost: What each row of the result took, without seconds, which differ from session to session; see `full_cost`.
            None in runs of versions that did not count it.

    Example:
        >>> from thickets import open_run
        >>> summary = open_run().summary
        >>> summary.evaluation.ensemble.n, len(summary.experts) == summary.evaluation.k
        (14, True)
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    fingerprint: str
    folder: Path
    model: str
    model_sha256: str
    problem: str
    n_candidates: int
    split_sizes: dict[str, int]
    base_selection: Accuracy
    sigmas: tuple[SigmaRow, ...]
    validation_curve: tuple[CurvePoint, ...]
    evaluation: Evaluation
    experts: tuple[ExpertRow, ...]
    n_tokens: dict[str, int]
    wall_s: float
    engine: EngineUse
    tracking: TrackingLinks
    thicket: ThicketDescription
    version: str
    pilot: Pilot | None = None
    race: Race | None = None
    budget: BudgetUse | None = None
    limit: TokenLimit | None = None
    answers: SelectionAnswers | None = None
    rescored_from: str | None = None
    changed_verdicts: VerdictChange | None = None
    dropped: dict[str, int] = {}
    thinking: Thinking | None = None
    sandbox: str | None = None
    by_likelihood: bool = False
    merge: MergeChoice | None = None
    cost: RunCost | None = None

    @property
    def full_cost(self) -> RunCost | None:
        """What each row of the result took, with the seconds of its engines; None where it was not counted."""
        return None if self.cost is None else self.cost.timed(self.engine.seconds)

    @property
    def is_graded(self) -> bool:
        """Whether an answer scores between wrong and right, so that the figures are mean scores."""
        curve = (self.base_selection, self.thicket.best.observed, *(point.accuracy for point in self.validation_curve))
        return (
            self.evaluation.is_graded
            or any(each.is_graded for each in curve)
            or any(row.unit > 1 for row in self.thicket.sigmas)
        )

    @property
    def common_questions(self) -> str:
        """The questions behind the figures about all candidates, in words: ``the selection split`` without racing."""
        if self.race is None or self.race.n_common == self.race.n_questions:
            return "the selection split"
        return f"the {self.race.n_common} selection questions that every candidate was asked"


def experts_of(summary: RunSummary) -> pl.DataFrame:
    """Return the candidates that vote, by rank: rank, candidate_id, weight."""
    return pl.DataFrame(
        [(row.rank, Candidate(int(row.seed), row.sigma).id, row.weight) for row in summary.experts],
        schema={"rank": pl.Int64, "candidate_id": pl.String, "weight": pl.Int64},
        orient="row",
    )
