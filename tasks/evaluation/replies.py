"""Replies of base, candidates and experts to a few test questions, from stored scores and completions alone."""

from __future__ import annotations

import polars as pl

from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.base import Replies
from thickets.tasks.problems.consensus import MAJORITY, Consensus
from thickets.tasks.results.evaluation import VoteRule

_CONTROL_PREFIX = f"{BASE_ID}~"


def replies_on_test(
    store: ScoreQueries, experts: pl.DataFrame, rule: VoteRule, count: int = 4, consensus: Consensus = MAJORITY
) -> tuple[Replies, ...]:
    """Return the replies to the first questions of the test split; the first, so that none are hand-picked.

    Args:
        store: Scores of a finished run.
        experts: rank, candidate_id, n_correct; the voters, by rank.
        rule: The vote rule.
        count: Largest number of questions.
        consensus: How answers vote.
    """
    examples = store.query(
        "SELECT example_id, question, answer AS gold FROM examples WHERE run_id = ? AND split = 'test' "
        "ORDER BY position, example_id LIMIT ?",
        [store.run_id, count],
    )
    rows = store.query(
        """
        SELECT c.example_id, c.candidate_id, c.completion
        FROM completions AS c
        JOIN candidates AS k USING (run_id, candidate_id)
        WHERE c.run_id = $run_id AND c.split = 'test' AND list_contains($ids, c.example_id)
        ORDER BY k.position, c.candidate_id
        """,
        {"run_id": store.run_id, "ids": examples["example_id"].to_list()},
    )
    voters = experts["candidate_id"].to_list()
    answered = vote(ballots(store, "test", experts), len(voters), rule, consensus)
    voted = {row["example_id"]: row for row in answered.to_dicts()}
    found = []
    for example_id, question, gold in examples.iter_rows():
        wrote = dict(rows.filter(pl.col("example_id") == example_id).select("candidate_id", "completion").iter_rows())
        others = [who for who in wrote if who not in (BASE_ID, *voters) and not who.startswith(_CONTROL_PREFIX)]
        found.append(
            Replies(
                question=question,
                gold=gold,
                base=wrote[BASE_ID],
                others=tuple(wrote[who] for who in others),
                experts=tuple(wrote[who] for who in voters),
                answer=voted[example_id]["answer"],
                correct=voted[example_id]["correct"],
            )
        )
    return tuple(found)
