"""The vote of answers that are texts: the one that is closest to all others wins (`thickets.tasks.problems.consensus`).

Every expert gives every answer a part of its vote: its similarity to the expert's own answer, in thousandths. So an
answer's `votes` are a sum of whole thousandths of votes, out of a `total` of a thousand for each vote. If answers were
either equal or not similar at all, this would be the vote that counts equal ones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from thickets.tasks.results.evaluation import VoteRule
from thickets.tasks.types import FULL
from thickets.tasks.verifiers.texts import Pairs

_VOTE_SCHEMA = pl.Schema(
    {
        "example_id": pl.String(),
        "answer": pl.String(),
        "correct": pl.Boolean(),
        "score": pl.UInt16(),
        "votes": pl.Int64(),
        "total": pl.Int64(),
        "n_abstain": pl.UInt32(),
        "similarity": pl.Int64(),
    }
)
_TALLY_SCHEMA = pl.Schema(
    {
        "example_id": pl.String(),
        "answer": pl.String(),
        "votes": pl.Int64(),
        "best_rank": pl.UInt32(),
        "correct": pl.Boolean(),
        "score": pl.UInt16(),
        "n_experts": pl.UInt32(),
        "similarity": pl.Int64(),
    }
)


@dataclass(frozen=True, eq=False)
class Compared:
    """The answers to one question, each compared with all others.

    Attributes:
        example_id: The question.
        abstained: Ranks of the experts without an answer, ascending.
        ranks: Ranks of the others, ascending, `[m]`.
        answers: Their answers.
        correct: Whether these are right.
        scores: Their scores, in thousandths.
        powers: The votes of each expert.
        support: Votes of an answer from the first experts, `[m, m]`: of answer i from those up to place j.
    """

    example_id: str
    abstained: list[int]
    ranks: list[int]
    answers: list[str]
    correct: list[bool]
    scores: list[int]
    powers: list[int]
    support: NDArray[np.int64]

    def count(self, k: int) -> int:
        """Return how many of the experts of rank 1 to k have an answer."""
        return bisect_right(self.ranks, k)

    def winner(self, k: int) -> int | None:
        """Return the place of the winning answer of the first k; None if all abstain. Ties go to the better rank."""
        n = self.count(k)
        return int(self.support[:n, n - 1].argmax()) if n else None  # the first of equals

    def similarity(self, place: int, k: int) -> int | None:
        """Return the mean similarity of an answer to those of the other experts, in thousandths; None: no others."""
        n = self.count(k)
        own = self.powers[place]
        others = sum(self.powers[:n]) - own
        return (int(self.support[place, n - 1]) - FULL * own) // others if others else None


def compare(ballots: pl.DataFrame, rule: VoteRule, pairs: Pairs) -> list[Compared]:
    """Compare all answers to each question, which is the costly part of a vote: once for every K.

    Args:
        ballots: As in `thickets.tasks.evaluation.voting.BALLOT_SCHEMA`.
        rule: One vote each, or `weight` votes each.
        pairs: Texts to their similarities.

    Returns:
        One per question, in the order of first appearance.
    """
    return list(_compared(ballots, rule, pairs))


def _compared(ballots: pl.DataFrame, rule: VoteRule, pairs: Pairs) -> Iterator[Compared]:
    columns = ["rank", "weight", "answer", "correct", "score"]
    for (name,), group in ballots.group_by("example_id", maintain_order=True):
        rows = group.select(columns).sort("rank").rows()
        voted = [row for row in rows if row[2] is not None]
        ranks, weights, answers, correct, scores = zip(*voted, strict=True) if voted else ((),) * 5
        powers = list(weights) if rule == "weighted" else [1] * len(voted)
        found = pairs(answers) if voted else np.zeros((0, 0), dtype=np.int64)
        yield Compared(
            example_id=str(name),
            abstained=[row[0] for row in rows if row[2] is None],
            ranks=list(ranks),
            answers=list(answers),
            correct=list(correct),
            scores=list(scores),
            powers=powers,
            support=np.cumsum(found * np.array(powers, dtype=np.int64), axis=1),
        )


def vote(ballots: pl.DataFrame, k: int, rule: VoteRule, pairs: Pairs) -> pl.DataFrame:
    """Let the first `k` experts vote; see `thickets.tasks.evaluation.voting.vote`.

    Returns:
        Its columns, and similarity: the mean similarity of the answer to those of the other experts, in thousandths;
        null where no other expert has a vote.
    """
    rows = []
    for each in compare(ballots.filter(pl.col("rank") <= k), rule, pairs):
        place, n_abstain = each.winner(k), len(each.abstained)
        if place is None:
            rows.append((each.example_id, None, False, 0, 0, 0, n_abstain, None))
            continue
        total, votes = FULL * sum(each.powers), int(each.support[place, -1])
        judged = each.answers[place], each.correct[place], each.scores[place]
        rows.append((each.example_id, *judged, votes, total, n_abstain, each.similarity(place, k)))
    return pl.DataFrame(rows, schema=_VOTE_SCHEMA, orient="row")


def tally(ballots: pl.DataFrame, k: int, rule: VoteRule, pairs: Pairs) -> pl.DataFrame:
    """Count the votes of the first `k` experts for every answer; see `thickets.tasks.evaluation.voting.tally`.

    Returns:
        Its columns, and similarity as `vote` has it.
    """
    rows = []
    for each in compare(ballots.filter(pl.col("rank") <= k), rule, pairs):
        for place, answer in enumerate(each.answers):
            if each.answers.index(answer) < place:
                continue
            judged = each.ranks[place], each.correct[place], each.scores[place]
            votes, n_experts = int(each.support[place, -1]), each.answers.count(answer)
            rows.append((each.example_id, answer, votes, *judged, n_experts, each.similarity(place, k)))
    found = pl.DataFrame(rows, schema=_TALLY_SCHEMA, orient="row")
    return found.sort(["votes", "best_rank"], descending=[True, False])


def sums(
    ballots: pl.DataFrame, k_values: Sequence[int], rule: VoteRule, pairs: Pairs
) -> list[tuple[int, int, int, int, int]]:
    """Sum the scores of the votes for each K; see `thickets.tasks.evaluation.voting.curve`."""
    compared = compare(ballots, rule, pairs)
    firsts = [min([*each.ranks[:1], *each.abstained[:1]]) for each in compared]
    found = []
    for k in k_values:
        asked = [each for each, first in zip(compared, firsts, strict=True) if first <= k]
        winners = [(each, place) for each in asked if (place := each.winner(k)) is not None]
        scores = [each.scores[place] for each, place in winners]
        n_correct = sum(each.correct[place] for each, place in winners)
        found.append((k, n_correct, len(asked), sum(scores), sum(score * score for score in scores)))
    return found
