"""A vote that stops early has the answer of the vote of all, and stops as soon as that is certain."""

from __future__ import annotations

from itertools import product

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from thickets.tasks.evaluation.voting import BALLOT_SCHEMA, vote
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.serving.tally import Tally, make_tally

ANSWERS = [None, "a", "b", "c"]
expert_lists = st.lists(st.tuples(st.sampled_from(ANSWERS), st.integers(0, 4)), min_size=1, max_size=5)


def full_votes(lists: list[list[tuple[str | None, int]]], rule: str) -> list[str | None]:
    rows = [
        (rank, power, f"e{number}", answer, False, 0)
        for number, experts in enumerate(lists)
        for rank, (answer, power) in enumerate(experts, start=1)
    ]
    found = vote(pl.DataFrame(rows, schema=BALLOT_SCHEMA, orient="row"), len(lists[0]), rule)  # type: ignore[arg-type]
    return found["answer"].to_list()


def tally(experts: list[tuple[str | None, int]], rule: str) -> Tally:
    """Ask until the vote is decided."""
    found = Tally([power if rule == "weighted" else 1 for _, power in experts])
    for answer, _ in experts:
        if found.is_decided:
            break
        found.cast(answer)
    return found


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.sampled_from(["majority", "weighted"]))
def test_the_answer_is_that_of_the_full_vote_whatever_is_answered(powers, rule) -> None:
    lists = [list(zip(said, powers, strict=True)) for said in product(ANSWERS, repeat=len(powers))]
    assert [tally(experts, rule).answer for experts in lists] == full_votes(lists, rule)


@settings(deadline=None)
@given(expert_lists, st.sampled_from(["majority", "weighted"]))
def test_no_vote_stops_later_than_it_could(experts, rule) -> None:
    asked = len(tally(experts, rule).ballots) - 1
    # One expert earlier, what the others might have said would still have made a difference.
    powers = [power for _, power in experts[asked:]]
    continuations = [
        [*experts[:asked], *zip(said, powers, strict=True)] for said in product([*ANSWERS, "d"], repeat=len(powers))
    ]
    assert len(set(full_votes(continuations, rule))) > 1


def test_a_lead_that_cannot_be_overtaken_ends_the_vote() -> None:
    found = tally([("a", 1), ("a", 1), ("a", 1), ("b", 1), ("b", 1)], "majority")
    assert (found.ballots, found.answer, found.n_votes, found.margin) == (["a", "a", "a"], "a", 3, 3 / 5)


def test_a_tie_that_the_better_expert_wins_ends_the_vote_too() -> None:
    assert tally([("a", 1), ("a", 1), ("b", 1), ("b", 1)], "majority").ballots == ["a", "a"]
    assert tally([("b", 1), ("a", 1), ("a", 1), ("b", 1)], "majority").ballots == ["b", "a", "a", "b"]


def test_abstentions_leave_everything_open() -> None:
    found = tally([(None, 1), (None, 1), (None, 1)], "majority")
    assert (len(found.ballots), found.answer, found.n_votes, found.margin) == (3, None, 0, 0.0)


texts = st.lists(st.sampled_from(["the", "dog", "ran", "home", "again"]), min_size=1, max_size=4).map(" ".join)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.none() | texts, st.integers(0, 4)), min_size=1, max_size=6),
    st.sampled_from(["majority", "weighted"]),
)
def test_texts_that_come_one_by_one_have_the_answer_of_the_full_vote(experts, rule) -> None:
    rows = [(rank, power, "e0", answer, False, 0) for rank, (answer, power) in enumerate(experts, start=1)]
    ballots = pl.DataFrame(rows, schema=BALLOT_SCHEMA, orient="row")
    full = vote(ballots, len(experts), rule, Consensus("rougeL")).row(0, named=True)
    found = make_tally([power if rule == "weighted" else 1 for _, power in experts], Consensus("rougeL"))
    for answer, _ in experts:
        assert not found.is_decided
        found.cast(answer)
    assert found.is_decided
    assert found.answer == full["answer"]
    if full["similarity"] is not None:
        assert found.similarity is not None
        assert int(1000 * found.similarity + 1e-9) == full["similarity"]
    assert 0 <= found.margin <= 1


def test_a_lead_among_texts_is_over_the_next_other_text() -> None:
    found = make_tally([1, 1, 1], Consensus("rougeL"))
    for text in ("the dog ran", "the dog ran", "a cat slept"):
        found.cast(text)
    assert (found.answer, found.n_votes, found.margin, found.similarity) == ("the dog ran", 2, 0.5, 0.5)
