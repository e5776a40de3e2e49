"""A vote that stops early has the answer of the vote of all, and stops as soon as that is certain."""

from __future__ import annotations

from itertools import product

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from thickets.tasks.evaluation.voting import BALLOT_SCHEMA, vote
from thickets.tasks.serving.tally import Tally

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
