"""Controls that the ensemble has to beat on the test split, at the same cost or less (docs/design.md#method).

A control that needs a model is a `Panel`: respondents that are scored in shards like all others, and vote.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.base import HasOptions, Problem
from thickets.tasks.problems.consensus import MAJORITY, Consensus
from thickets.tasks.results.evaluation import Control, ControlName
from thickets.tasks.results.intervals import Accuracy, Difference
from thickets.tasks.scoring.units import candidate_id
from thickets.tasks.seeds import candidates_of
from thickets.tasks.statistics import accuracy, accuracy_of, minus_expectation, paired_difference, shares
from thickets.tasks.types import Attempt, Average, Candidate, Example, Respondent, Reworded

# A constant answer is a control only where answers repeat: at least this many questions per answer, on average.
_LEAST_PER_ANSWER = 5


@dataclass(frozen=True, slots=True)
class Panel:
    """Respondents that vote, each with one vote.

    Attributes:
        name: Key of the control.
        label: Its name in reports.
        members: The respondents; among equally frequent answers that of the earlier member wins.
        detail: Full text of the prompt template, for which the label has no room; None for other controls.
    """

    name: ControlName
    label: str
    members: tuple[Respondent, ...]
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Guess:
    """Answers that need no model.

    Attributes:
        label: Name of the control in reports.
        right: Probability that the guess is right, per example of the test split.
    """

    label: str
    right: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Controls:
    """The controls of a run; none by default.

    Attributes:
        panels: Controls that vote on the test split.
        guess: Answers that need no model.
        trials: Respondents on the validation split, to choose a panel's prompt.
    """

    panels: tuple[Panel, ...] = ()
    guess: Guess | None = None
    trials: tuple[Reworded, ...] = ()

    @property
    def respondents(self) -> list[Respondent]:
        """Members of all panels, each once."""
        return list(dict.fromkeys(member for panel in self.panels for member in panel.members))


def attempts(k: int, temperature: float, seed: int, instruction: str | None = None) -> tuple[Attempt, ...]:
    """Return `k` samples of the base, under the run's own wording or another; a smaller `k` gives a prefix."""
    return tuple(Attempt(index, temperature, seed, instruction) for index in range(k))


def self_consistency(k: int, temperature: float, seed: int) -> Panel:
    """Return the base, sampled `k` times: as many answers per question as an ensemble of `k` gives."""
    label = f"self-consistency, {k} samples at t = {temperature:g}"
    return Panel("self_consistency", label, attempts(k, temperature, seed))


def random_experts(population: pl.DataFrame, k: int, seed: int) -> Panel:
    """Draw candidates from the whole population, regardless of score: a control for the gain by selection.

    Args:
        population: As `thickets.tasks.seeds.population` gives it.
        k: Number of candidates; a smaller `k` gives a prefix.
        seed: Of the draw.
    """

    def lot(candidate: Candidate) -> bytes:
        # Not a library's shuffle: the draw must not depend on a version.
        return hashlib.blake2b(f"thickets random experts 1:{seed}:{candidate.id}".encode(), digest_size=16).digest()

    drawn = sorted(candidates_of(population), key=lot)[:k]
    return Panel("random_experts", f"random experts, {k} of {population.height}", tuple(drawn))


def weight_average(experts: Sequence[Candidate]) -> Panel:
    """Return one model, the average of the experts that vote in the ensemble; it costs as much as the base.

    Args:
        experts: By rank.
    """
    return Panel("weight_average", f"weight average of {len(experts)}", (Average(tuple(experts)),))


def best_guess(problem: Problem, examples: Sequence[Example]) -> Guess | None:
    """Return the better of two guesses: always the most frequent answer, or one of the options at random.

    Returns:
        None where questions have no options and fewer than 5 questions share an answer, on average.
    """
    guesses = []
    counts = Counter(example.answer.strip() for example in examples)
    if len(counts) * _LEAST_PER_ANSWER <= len(examples):
        right = _most_frequent([example.answer for example in examples])
        guesses.append(Guess("chance, always the most frequent answer", right))
    listed = [problem.n_options(example) for example in examples] if isinstance(problem, HasOptions) else []
    options = [n for n in listed if n is not None]
    if options and len(options) == len(examples):
        guesses.append(Guess("chance, one of the options at random", tuple(1 / n for n in options)))
    return max(guesses, key=lambda guess: sum(guess.right), default=None)


def judge_controls(
    scores: ScoreQueries,
    controls: Controls,
    ensemble: pl.DataFrame,
    base: pl.DataFrame,
    consensus: Consensus = MAJORITY,
) -> tuple[Control, ...]:
    """Compare every control with the ensemble and the base on the test split.

    A guess is known to be right or wrong, and not what it scores in part: where scores lie between wrong and right, it
    is no control.

    Args:
        scores: The run's scores, those of every panel's members included.
        controls: The controls to compare with.
        ensemble: The ensemble's answers, in the order of the examples: correct, score.
        base: The base's answers, likewise.
        consensus: How the answers of a panel vote: as those of the ensemble.
    """
    judged = []
    is_graded = accuracy_of(ensemble).is_graded or accuracy_of(base).is_graded
    if controls.guess is not None and not is_graded:
        right = controls.guess.right
        judged.append(_control(controls.guess, "chance", _expected(right), 0, right, ensemble, base))
    for panel in controls.panels:
        ids = [candidate_id(member) for member in panel.members]
        members = pl.DataFrame({"candidate_id": ids, "rank": range(1, len(ids) + 1), "n_correct": 1})
        voted = vote(ballots(scores, "test", members), len(ids), consensus=consensus)
        n_tokens = count_tokens(scores, "test", ids)
        judged.append(_control(panel, panel.name, accuracy_of(voted), n_tokens, shares(voted), ensemble, base))
    return tuple(judged)


def minus_chance(correct: Sequence[bool], golds: Sequence[str], chance: Control) -> Difference:
    """Compare any model's answers to the test split with a run's control "chance".

    Against a constant answer it is question by question; against a guess at random, which is an expectation, it is the
    model's interval against a number.

    Args:
        correct: Whether each answer of the model is correct, in the order of the examples.
        golds: The gold answers, likewise.
        chance: The run's control.
    """
    if chance.accuracy.is_exact:
        return minus_expectation(accuracy(sum(correct), len(correct)), chance.accuracy.value)
    return paired_difference(correct, _most_frequent(golds))


def count_tokens(scores: ScoreQueries, split: str, ids: Sequence[str]) -> int:
    """Count the tokens that some respondents generated on a split."""
    return int(scores.answers(split, ids)["n_tokens"].sum())


def _most_frequent(golds: Sequence[str]) -> tuple[float, ...]:
    """Return for each question whether the answer that is most often right would be right there."""
    answers = [gold.strip() for gold in golds]
    [(constant, _)] = Counter(answers).most_common(1)
    return tuple(float(answer == constant) for answer in answers)


def _expected(right: Sequence[float]) -> Accuracy:
    """Return the accuracy of a guess; a random guess has an exact expectation and no interval."""
    total, n = sum(right), len(right)
    if all(share in (0.0, 1.0) for share in right):
        return accuracy(int(total), n)
    return Accuracy(n_correct=round(total), n=n, value=total / n, low=total / n, high=total / n, is_exact=True)


def _control(
    what: Panel | Guess,
    name: ControlName,
    score: Accuracy,
    n_tokens: int,
    theirs: Sequence[float],
    ensemble: pl.DataFrame,
    base: pl.DataFrame,
) -> Control:
    return Control(
        name=name,
        label=what.label,
        detail=what.detail if isinstance(what, Panel) else None,
        accuracy=score,
        n_tokens=n_tokens,
        minus_base=paired_difference(theirs, shares(base)),
        ensemble_minus=minus_expectation(accuracy_of(ensemble), score.value)
        if score.is_exact
        else paired_difference(shares(ensemble), theirs),
    )
