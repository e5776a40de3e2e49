"""Which responses become training data: every rule on frames small enough to check by eye."""

from __future__ import annotations

import polars as pl
import pytest

from tests.judges import JUDGE
from thickets.tasks.distillation.data import LABELS, REJECTION, STUDENT, Rules, label_rows, rejection_rows, student_rows
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.types import Example

# Example, rank, answer, correct, completion, finish reason.
Reply = tuple[str, int, str | None, bool, str, str]


def experts(*replies: Reply) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (rank, 1, example, answer, correct, 1000 * correct, f"e{rank}", text, end)
            for example, rank, answer, correct, text, end in replies
        ],
        schema={
            "rank": pl.UInt32,
            "weight": pl.Int64,
            "example_id": pl.String,
            "answer": pl.String,
            "correct": pl.Boolean,
            "score": pl.UInt16,
            "candidate_id": pl.String,
            "completion": pl.String,
            "finish_reason": pl.String,
        },
        orient="row",
    )


def tries(**answers: list[str | None]) -> pl.DataFrame:
    """Attempts of the base, example by example; the gold answer is always "1"."""
    rows = [
        (f"a{index}", example, answer, answer == "1", f"It is {answer}.", "stop")
        for example, each in answers.items()
        for index, answer in enumerate(each)
    ]
    columns = ["candidate_id", "example_id", "answer", "correct", "completion", "finish_reason"]
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String) | {"correct": pl.Boolean}, orient="row")


def right(example: str, rank: int, text: str = "1", end: str = "stop") -> Reply:
    return example, rank, "1", True, text, end


def wrong(example: str, rank: int, answer: str | None = "2") -> Reply:
    return example, rank, answer, False, str(answer), "stop"


def kept(rows: pl.DataFrame) -> list[tuple[str, str, str]]:
    return rows.select("example_id", "source", "response").rows()


HARD = ["2", "2", "1"]
EASY = ["1", "1", "2"]


def test_only_examples_that_the_base_gets_wrong_in_most_tries_are_kept() -> None:
    replies = experts(right("hard", 1), right("easy", 1), right("half", 1))
    attempts = tries(hard=HARD, easy=EASY, half=["1", "2"])
    rows, report = student_rows(replies, attempts, Rules())
    assert kept(rows) == [("hard", "e1", "1")]
    assert (report.n_examples, report.n_hard, report.n_eligible, report.n_rows) == (3, 1, 1, 1)
    every, _ = student_rows(replies, attempts, Rules(hard_only=False))
    assert [example for example, _, _ in kept(every)] == ["hard", "easy", "half"]


def test_an_abstention_of_the_base_is_wrong() -> None:
    rows, _ = student_rows(experts(right("x", 1)), tries(x=[None, None, "1"]), Rules())
    assert rows.height == 1


def test_an_example_whose_ensemble_answer_is_wrong_gives_nothing_even_where_one_expert_is_right() -> None:
    replies = experts(right("x", 1), wrong("x", 2), wrong("x", 3))
    rows, report = student_rows(replies, tries(x=HARD), Rules())
    assert rows.height == report.n_ensemble == report.n_eligible == 0


def test_only_responses_with_the_ensembles_answer_are_kept_and_each_names_its_expert() -> None:
    replies = experts(right("x", 1, "1"), wrong("x", 2), right("x", 3, "so 1"), wrong("x", 4, None))
    rows, report = student_rows(replies, tries(x=HARD), Rules())
    assert kept(rows) == [("x", "e1", "1"), ("x", "e3", "so 1")]
    assert rows["rule"].unique().to_list() == ["hard for the base, ensemble's answer, verified"]
    assert rows["arm"].unique().to_list() == [STUDENT]
    assert report.n_agreeing == 2


def test_of_equal_texts_the_better_ranked_experts_is_kept_but_not_across_examples() -> None:
    replies = experts(right("x", 2, "same"), right("x", 1, "same"), right("y", 1, "same"))
    rows, report = student_rows(replies, tries(x=HARD, y=HARD), Rules())
    assert kept(rows) == [("x", "e1", "same"), ("y", "e1", "same")]
    assert report.n_repeated == 1


def test_texts_that_were_cut_off_or_are_empty_are_not_learned_from() -> None:
    replies = experts(right("x", 1, "1 and", "length"), right("x", 2, "  "), right("x", 3, "1"))
    rows, report = student_rows(replies, tries(x=HARD), Rules())
    assert kept(rows) == [("x", "e3", "1")]
    assert report.n_cut_off == 2


def test_the_cap_keeps_the_best_ranked_of_each_example() -> None:
    replies = experts(*(right("x", rank, f"text {rank}") for rank in (4, 2, 3, 1)), right("y", 4, "text"))
    rows, report = student_rows(replies, tries(x=HARD, y=HARD), Rules(max_per_example=2))
    assert kept(rows) == [("x", "e1", "text 1"), ("x", "e2", "text 2"), ("y", "e4", "text")]
    assert report.n_over_cap == 2


def test_without_labels_the_margin_decides_and_no_verdict_is_looked_at() -> None:
    # "clear" leads by 3 of 3 votes, "close" by 1 of 3; "5" is wrong by the labels, which must not matter.
    clear = [("clear", rank, "5", False, f"five {rank}", "stop") for rank in (1, 2, 3)]
    close = [right("close", 1), right("close", 2, "one"), wrong("close", 3)]
    attempts = tries(clear=["2", "3", "5"], close=["2", "2", "2"])
    rows, report = student_rows(experts(*clear, *close), attempts, Rules(margin=0.5))
    assert [example for example, _, _ in kept(rows)] == ["clear"] * 3
    assert rows["rule"][0] == "hard for the base, ensemble's answer, margin at least 0.5"
    assert report.n_hard == 2
    both, _ = student_rows(experts(*clear, *close), attempts, Rules(margin=1 / 3))
    assert both["example_id"].unique(maintain_order=True).to_list() == ["clear", "close"]


def test_without_labels_an_example_is_hard_where_the_base_mostly_differs_from_the_ensemble() -> None:
    replies = experts(*(("x", rank, "5", False, f"five {rank}", "stop") for rank in (1, 2)))
    assert student_rows(replies, tries(x=["5", "5", "1"]), Rules(margin=0.5))[0].is_empty()
    assert student_rows(replies, tries(x=[None, "1", "5"]), Rules(margin=0.5))[0].height == 2


def test_the_account_adds_up() -> None:
    replies = experts(right("x", 1, "a"), right("x", 2, "a"), right("x", 3, "b"), right("x", 4, "c", "length"))
    _, report = student_rows(replies, tries(x=HARD), Rules(max_per_example=1))
    assert report.n_agreeing - report.n_cut_off - report.n_repeated - report.n_over_cap == report.n_rows == 1
    assert "1 rows" in report.account


def test_rejection_sampling_takes_one_right_sample_of_every_example_before_a_second() -> None:
    attempts = tries(x=["1", "1", "1"], y=["2", "1", "2"], z=["2", "2", "2"])
    attempts = attempts.with_columns(completion=pl.format("{} {}", "candidate_id", "answer"))
    rows = rejection_rows(attempts, 3, 4)
    assert kept(rows) == [("x", "a0", "a0 1"), ("y", "a1", "a1 1"), ("x", "a1", "a1 1")]
    assert rows["arm"].unique().to_list() == [REJECTION]
    assert [example for example, _, _ in kept(rejection_rows(attempts, 9, 2))] == ["x", "y", "x"]
    # The same text twice teaches no more than once.
    assert rejection_rows(tries(x=["1", "1"]), 9, 4).height == 1


def test_labels_are_taken_of_the_students_examples_first_and_only_where_the_verifier_takes_them() -> None:
    examples = [Example(name, f"question {name}", answer) for name, answer in [("a", "7"), ("b", "none"), ("c", "9")]]
    rows = label_rows(JUDGE, examples, ["c", "c"], 5)
    assert kept(rows) == [("c", "label", "9"), ("a", "label", "7")]
    assert rows["arm"].unique().to_list() == [LABELS]
    assert kept(label_rows(JUDGE, examples, ["c"], 1)) == [("c", "label", "9")]


@pytest.mark.parametrize("rules", [Rules(), Rules(margin=0.5)])
def test_experts_that_all_abstain_leave_nothing(rules: Rules) -> None:
    rows, report = student_rows(experts(wrong("x", 1, None)), tries(x=HARD), rules)
    assert rows.is_empty()
    assert report.n_ensemble == 0


def test_of_texts_the_closest_one_is_the_response_and_only_where_it_is_verified() -> None:
    near, middle, far = "the dog ran home", "the dog ran home again", "a cat slept"
    replies = experts(
        ("x", 1, far, False, far, "stop"),
        ("x", 2, middle, True, middle, "stop"),
        ("x", 3, near, True, near, "stop"),
        ("x", 4, "the dog ran away", True, "the dog ran away", "stop"),
        ("y", 1, near, True, near, "stop"),
        ("y", 2, far, False, far, "stop"),
        ("y", 3, f"{far} well", False, far, "stop"),
    )
    attempts = tries(x=HARD, y=HARD)
    rows, report = student_rows(replies, attempts, Rules(), consensus=Consensus("rougeL"))
    assert kept(rows) == [("x", "e3", near)]
    assert (report.n_ensemble, report.n_agreeing) == (1, 1)
    counted, _ = student_rows(replies, attempts, Rules())
    assert kept(counted) == [("y", "e1", near)]  # no two are equal, and so the best expert's
