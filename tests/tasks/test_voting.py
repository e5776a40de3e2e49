from __future__ import annotations

from collections import Counter

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from thickets.tasks.evaluation.voting import BALLOT_SCHEMA, curve, vote


def ballots(answers: list[list[str | None]], weights: list[int] | None = None, gold: str = "a") -> pl.DataFrame:
    """`answers[expert][example]`, experts by rank."""
    rows = [
        (rank, power, f"e{example}", answer, answer == gold, 1000 * (answer == gold))
        for rank, (power, of_expert) in enumerate(zip(weights or [1] * len(answers), answers, strict=True), start=1)
        for example, answer in enumerate(of_expert)
    ]
    return pl.DataFrame(rows, schema=BALLOT_SCHEMA, orient="row")


def winner(answers: list[str | None], weights: list[int] | None = None, rule: str = "majority") -> str | None:
    return vote(ballots([[a] for a in answers], weights), len(answers), rule)["answer"][0]  # type: ignore[arg-type]


def test_the_majority_wins() -> None:
    assert winner(["b", "a", "a"]) == "a"


def test_a_tie_goes_to_the_answer_of_the_better_expert() -> None:
    assert winner(["b", "a", "a", "b"]) == "b"
    assert winner(["c", "a", "b", "b", "a"]) == "a"


def test_weights_can_overrule_numbers() -> None:
    assert winner(["b", "a", "a"], [30, 10, 10], "weighted") == "b"
    assert winner(["b", "a", "a"], [30, 10, 10], "majority") == "a"


def test_an_abstention_is_never_a_vote() -> None:
    result = vote(ballots([["a"], [None], [None]]), 3)
    assert result.row(0, named=True) == {
        "example_id": "e0", "answer": "a", "correct": True, "score": 1000, "votes": 1, "total": 1, "n_abstain": 2,
    }  # fmt: skip


def test_when_all_abstain_there_is_no_answer_and_it_is_wrong() -> None:
    result = vote(ballots([[None], [None]]), 2)
    assert result.row(0, named=True) == {
        "example_id": "e0", "answer": None, "correct": False, "score": 0, "votes": 0, "total": 0, "n_abstain": 2,
    }  # fmt: skip


def test_only_the_first_k_vote() -> None:
    cast = ballots([["a"], ["b"], ["b"]])
    assert vote(cast, 1)["answer"].to_list() == ["a"]
    assert vote(cast, 3)["answer"].to_list() == ["b"]


answer_lists = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=n, max_size=n), min_size=1, max_size=7)
)


@settings(deadline=None)  # a busy machine is no failure
@given(answer_lists, st.randoms())
def test_the_vote_agrees_with_a_plain_count_and_not_with_row_order(answers: list[list[str | None]], order) -> None:
    cast = ballots(answers)
    rows = list(range(cast.height))
    order.shuffle(rows)
    shuffled = vote(cast[rows], len(answers)).sort("example_id")
    assert shuffled.equals(vote(cast, len(answers)).sort("example_id"))
    for example, found in enumerate(shuffled["answer"]):
        given_answers = [of_expert[example] for of_expert in answers if of_expert[example] is not None]
        if not given_answers:
            assert found is None
            continue
        counts = Counter(given_answers)
        assert counts[found] == max(counts.values())
        assert found == next(a for a in given_answers if counts[a] == max(counts.values()))


def test_the_curve_counts_correct_votes_for_each_k() -> None:
    cast = ballots([["a", "b"], ["b", "a"], ["b", "a"]])
    assert curve(cast, [1, 3]).rows() == [(k, 1, 2, 1000, 1_000_000) for k in (1, 3)]
