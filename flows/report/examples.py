"""Test questions on which base and vote differ, with the replies of the base and of an expert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, zip_longest
from typing import Any

import polars as pl

from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.evaluation.voting import ballots, tally, vote
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.types import FULL
from thickets.tasks.verifiers.thought import Thoughts, after_thought

_COUNT = 10
# Where there are enough of both kinds; what a vote breaks is as telling as what it fixes, and rarer.
_LEAST_BROKEN = 3

# In the order in which they take turns.
_FIXED = ("reasoning_fixed", "format_fixed", "unclear_fixed", "fixed")
_BROKEN = ("regressed",)
_UNFINISHED = "(a thought that is not finished)"


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of one respondent to a question.

    Attributes:
        text: The completion; None where it is no longer kept.
        answer: The extracted answer; None is an abstention.
        correct: Whether the answer is right.
    """

    text: str | None
    answer: str | None
    correct: bool


@dataclass(frozen=True, slots=True)
class Counted:
    """One answer in the vote.

    Attributes:
        answer: What was voted for.
        votes: How many votes it got, by the run's rule.
        n_experts: How many experts gave it.
        correct: Whether it is right.
        similarity: Mean similarity to the answers of the other experts, 0 to 1, where the closest text wins and there
            are others; else None.
    """

    answer: str
    votes: int
    n_experts: int
    correct: bool
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class TestExample:
    """One question of the test split.

    Attributes:
        position: Place in the split, from 1.
        question: As it was put, before any prompt template.
        gold: The right answer.
        fate: What the vote changed.
        base: The base's reply.
        counted: The vote, winner first.
        n_abstain: Experts without an answer.
        expert_rank: The best ranked expert for the winning answer; None if all abstained.
        expert: What that expert wrote.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    position: int
    question: str
    gold: str
    fate: str
    base: Reply
    counted: tuple[Counted, ...]
    n_abstain: int
    expert_rank: int | None
    expert: Reply | None


def changed_examples(scores: ScoreQueries, summary: RunSummary, count: int = _COUNT) -> tuple[TestExample, ...]:
    """The first questions of the test split that the vote fixed, the kinds in turn, and then some that it broke."""
    found = summary.evaluation
    experts = experts_of(summary)
    cast, consensus = ballots(scores, "test", experts), Consensus(found.metric)
    voted = {row["example_id"]: row for row in vote(cast, found.k, found.rule, consensus).iter_rows(named=True)}
    base = {row["example_id"]: row for row in scores.answers("test", [BASE_ID]).iter_rows(named=True)}
    counted = tally(cast, found.k, found.rule, consensus).partition_by("example_id", as_dict=True, maintain_order=True)
    ids = dict(experts.select("rank", "candidate_id").iter_rows())

    @cache
    def texts(candidate_id: str) -> Mapping[str, str]:
        return {name: _said(text, summary) for name, text in scores.completions("test", candidate_id).iter_rows()}

    def example(name: str, fate: str, position: int, question: str, gold: str) -> TestExample:
        votes = counted.get((name,), pl.DataFrame()).to_dicts()
        rank = votes[0]["best_rank"] if votes else None
        own = base[name]
        return TestExample(
            position=position + 1,
            question=question,
            gold=gold,
            fate=fate,
            base=Reply(texts(BASE_ID).get(name), own["answer"], own["correct"]),
            counted=tuple(map(_counted, votes)),
            n_abstain=voted[name]["n_abstain"],
            expert_rank=rank,
            expert=Reply(texts(ids[rank]).get(name), votes[0]["answer"], votes[0]["correct"]) if votes else None,
        )

    questions = {
        name: rest
        for name, *rest in scores.query(
            "SELECT example_id, position, question, answer FROM examples WHERE split = 'test' ORDER BY position"
        ).iter_rows()
    }
    fates = {
        name: summary.thicket.changed[name] for name in questions if voted[name]["correct"] != base[name]["correct"]
    }
    return tuple(example(name, fates[name], *questions[name]) for name in pick(fates, count))


def _counted(row: Mapping[str, Any]) -> Counted:
    """Make one answer of a row of `thickets.tasks.evaluation.voting.tally`."""
    similarity = row.get("similarity")
    return Counted(
        row["answer"],
        row["votes"],
        row["n_experts"],
        row["correct"],
        None if similarity is None else similarity / FULL,
    )


def _said(text: str, summary: RunSummary) -> str:
    """Return a reply without its thoughts, which may be pages long."""
    if (found := summary.thinking) is None:
        return text
    said = after_thought(text, Thoughts(*found.tags, found.is_open))
    return _UNFINISHED if said is None else said.strip()


def pick(fates: Mapping[str, str], count: int) -> list[str]:
    """Choose questions by fate: fixed ones first, their kinds in turn, then broken ones, each in the order given."""
    fixed = _in_turn([[name for name, fate in fates.items() if fate == kind] for kind in _FIXED])
    broken = [name for name, fate in fates.items() if fate in _BROKEN]
    n_broken = min(len(broken), max(_LEAST_BROKEN, count - len(fixed)))
    return [*fixed[: count - n_broken], *broken[:n_broken]]


def _in_turn(groups: Sequence[Sequence[str]]) -> list[str]:
    return [name for name in chain.from_iterable(zip_longest(*groups)) if name is not None]
