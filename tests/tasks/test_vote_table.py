"""The table of a vote says what the vote says, question by question."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.test_voting import ballots
from thickets.tasks.evaluation.vote_table import VOTE_TABLE_SCHEMA, vote_table
from thickets.tasks.evaluation.voting import vote
from thickets.tasks.problems.consensus import MAJORITY, Consensus
from thickets.tasks.results.evaluation import VoteRule

TEXTS = ["it rained", "it rained all day", "the dog ran", None]


def answers_of(choice: list[str | None]) -> st.SearchStrategy[list[list[str | None]]]:
    """Answers of 1 to 6 experts to 1 to 4 questions."""
    return st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(st.sampled_from(choice), min_size=n, max_size=n), min_size=1, max_size=6)
    )


def check(cast: pl.DataFrame, k: int, rule: VoteRule, consensus: Consensus) -> None:
    table, voted = vote_table(cast, k, rule, consensus), vote(cast, k, rule, consensus)
    assert table.schema == VOTE_TABLE_SCHEMA
    same = ["example_id", "answer", "correct", "score", "votes", "n_abstain"]
    winners = table.filter("wins")
    assert winners.select(same).to_dicts() == voted.select(same).to_dicts()
    answered = cast.filter(pl.col("rank") <= k, pl.col("answer").is_not_null())
    assert table["n_experts"].sum() == answered.height
    assert table.drop_nulls("answer").height == answered.select("example_id", "answer").unique().height
    assert (table["margin"].drop_nulls() >= 0).all()
    places = table.group_by("example_id", maintain_order=True).agg("place")["place"].to_list()
    assert places == [[*range(1, len(each) + 1)] for each in places]


@settings(deadline=None)  # a busy machine is no failure
@given(answers_of(["a", "b", "c", None]), st.sampled_from(["majority", "weighted"]), st.data())
def test_winners_are_those_of_the_vote(answers: list[list[str | None]], rule: VoteRule, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 9), min_size=len(answers), max_size=len(answers)))
    k = data.draw(st.integers(1, len(answers)))
    check(ballots(answers, weights), k, rule, MAJORITY)


@settings(deadline=None, max_examples=30)
@given(answers_of(TEXTS), st.sampled_from(["majority", "weighted"]), st.data())
def test_so_they_are_where_the_closest_text_wins(
    answers: list[list[str | None]], rule: VoteRule, data: st.DataObject
) -> None:
    weights = data.draw(st.lists(st.integers(0, 9), min_size=len(answers), max_size=len(answers)))
    check(ballots(answers, weights, gold="it rained"), len(answers), rule, Consensus("rougeL"))


def test_shares_and_margin_of_a_count() -> None:
    table = vote_table(ballots([["b"], ["a"], ["a"], ["a"], ["c"], [None]]), 6, "majority")
    columns = ["place", "answer", "wins", "n_experts", "votes", "share", "margin", "correct", "best_rank", "n_abstain"]
    assert table.with_columns(pl.col("share", "margin").round(9)).select(columns).rows() == [
        (1, "a", True, 3, 3, 0.6, 0.4, True, 2, 1),
        (2, "b", False, 1, 1, 0.2, 0.4, False, 1, 1),
        (3, "c", False, 1, 1, 0.2, 0.4, False, 5, 1),
    ]


def test_a_question_on_which_all_abstain_has_a_row_of_its_own() -> None:
    table = vote_table(ballots([[None, "a"], [None, "a"]]), 2, "majority")
    assert table.select("example_id", "answer", "wins", "votes", "share", "margin", "n_abstain").rows() == [
        ("e0", None, True, 0, None, None, 2),
        ("e1", "a", True, 2, 1.0, 1.0, 0),
    ]
