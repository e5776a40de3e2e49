"""The vote of answers that are texts: the one that is closest to all others wins (`thickets.tasks.problems.consensus`).

Every expert gives every other answer a part of its vote: the similarity to its own answer, in thousandths. So an
answer's `votes` are a sum of whole thousandths of votes, out of a `total` of a thousand for each vote of the others,
and the largest share wins. If answers were either equal or not similar at all, and each expert had one vote, this
would be the vote that counts equal ones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from thickets.tasks.problems.consensus import means, support
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
        given: What an answer gets of the votes of others, `[m, m]`: answer i from the experts up to place j.
    """

    example_id: str
    abstained: list[int]
    ranks: list[int]
    answers: list[str]
    correct: list[bool]
    scores: list[int]
    powers: list[int]
    given: NDArray[np.int64]

    def count(self, k: int) -> int:
        """Return how many of the experts of rank 1 to k have an answer."""
        return bisect_right(self.ranks, k)

    def means(self, k: int) -> NDArray[np.float64]:
        """Return the mean similarity of each answer of the first k to those of the others, 0 to 1."""
        n = self.count(k)
        return means(self.given[:n, n - 1], self.powers[:n]) if n else np.zeros(0)

    def winner(self, k: int) -> int | None:
        """Return the place of the winning answer of the first k; None if all abstain. Ties go to the better rank."""
        return int(self.means(k).argmax()) if self.count(k) else None  # the first of equals

    def votes(self, place: int, k: int) -> tuple[int, int, int | None]:
        """Return the votes that others give an answer, of how many, both in thousandths, and the share in thousandths.

        The share is the mean similarity, rounded down; None if no other expert has a vote.
        """
        n = self.count(k)
        votes, total = int(self.given[place, n - 1]), FULL * (sum(self.powers[:n]) - self.powers[place])
        return votes, total, FULL * votes // total if total else None


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
            given=support(found, powers),
        )


def vote(ballots: pl.DataFrame, k: int, rule: VoteRule, pairs: Pairs) -> pl.DataFrame:
    """Let the first `k` experts vote; see `thickets.tasks.evaluation.voting.vote`.

    Returns:
        Its columns, and similarity: the mean similarity of the answer to those of the other experts, in thousandths;
        null where no other expert has a vote.
    """
    rows: list[tuple[object, ...]] = []
    for each in compare(ballots.filter(pl.col("rank") <= k), rule, pairs):
        place, n_abstain = each.winner(k), len(each.abstained)
        if place is None:
            rows.append((each.example_id, None, False, 0, 0, 0, n_abstain, None))
            continue
        votes, total, similarity = each.votes(place, k)
        judged = each.answers[place], each.correct[place], each.scores[place]
        rows.append((each.example_id, *judged, votes, total, n_abstain, similarity))
    return pl.DataFrame(rows, schema=_VOTE_SCHEMA, orient="row")


def tally(ballots: pl.DataFrame, k: int, rule: VoteRule, pairs: Pairs) -> pl.DataFrame:
    """Count the votes of the first `k` experts for every answer; see `thickets.tasks.evaluation.voting.tally`.

    Returns:
        Its columns, and similarity as `vote` has it, by question. Of several experts with the same answer, the one
        whose others are closer to it counts.
    """
    rows: list[tuple[object, ...]] = []
    for each in compare(ballots.filter(pl.col("rank") <= k), rule, pairs):
        found = each.means(k)
        seen = set()
        for place in np.argsort(-found, kind="stable").tolist():  # equals stay in the order of their ranks
            answer = each.answers[place]
            if answer in seen:
                continue
            seen.add(answer)
            of_answer = [at for at, text in enumerate(each.answers) if text == answer]
            judged = each.ranks[of_answer[0]], each.correct[place], each.scores[place]
            votes, _, similarity = each.votes(place, k)
            rows.append((each.example_id, answer, votes, *judged, len(of_answer), similarity))
    return pl.DataFrame(rows, schema=_TALLY_SCHEMA, orient="row")


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
