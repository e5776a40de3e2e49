"""Splits are disjoint, stable and hashed, and short data is an error that counts what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.base import prompt
from thickets.tasks.problems.splits import Splits, draw_splits, draw_training
from thickets.tasks.types import JSON, Example, Message, Sampling


@dataclass
class Rows:
    """A problem that is a list of rows."""

    pool: list[Example]
    official: list[Example] | None = None
    name: str = "rows"
    summary: str = "Rows."
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=1))

    def identity(self) -> dict[str, JSON]:
        return {}

    def examples(self, count: int, seed: int) -> list[Example]:
        return self.pool

    def test_examples(self) -> list[Example] | None:
        return self.official

    def messages(self, example: Example) -> list[Message]:
        return prompt("{question}", None, example.question)

    def extract(self, text: str, example: Example) -> str | None:
        return text

    def verify(self, answer: str, example: Example) -> bool:
        return answer == example.answer


def rows(*numbers: int, prefix: str = "id") -> list[Example]:
    return [Example(f"{prefix}{number}", f"question {number}", str(number)) for number in numbers]


def contents(splits: Splits) -> list[list[str]]:
    return [[example.question for example in split.examples] for split in splits]


@given(
    pool=st.lists(st.integers(0, 30), max_size=60),
    official=st.none() | st.lists(st.integers(0, 30), max_size=20),
    sizes=st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12)),
    seed=st.integers(0, 2**64 - 1),
)
def test_splits_have_the_sizes_asked_for_and_share_nothing_or_say_what_is_missing(
    pool: list[int], official: list[int] | None, sizes: tuple[int, int, int], seed: int
) -> None:
    problem = Rows(rows(*pool), None if official is None else rows(*official, prefix="test"))
    selection, validation, test = sizes
    held_out = set(official or ())
    usable = len(set(pool) - held_out)
    needed = selection + validation + (test if official is None else 0)
    enough = usable >= needed and (official is None or len(held_out) >= test)
    if not enough:
        with pytest.raises(InputError, match=r"are missing"):
            draw_splits(problem, selection=selection, validation=validation, test=test, seed=seed)
        return
    splits = draw_splits(problem, selection=selection, validation=validation, test=test, seed=seed)
    assert [len(split.examples) for split in splits] == list(sizes)
    questions = [question for split in contents(splits) for question in split]
    assert len(set(questions)) == len(questions)
    ids = [example.id for split in splits for example in split.examples]
    assert len(set(ids)) == len(ids)
    if official is not None:
        assert not set(contents(splits)[0] + contents(splits)[1]) & {f"question {number}" for number in official}


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_the_file() -> None:
    def draw(pool: list[Example], seed: int) -> Splits:
        return draw_splits(Rows(pool), selection=5, validation=4, test=3, seed=seed)

    pool = rows(*range(40))
    assert draw(pool, 1) == draw(pool[::-1], 1)
    assert draw(pool, 1) != draw(pool, 2)
    assert contents(draw(pool, 1))[0] != [example.question for example in pool[:5]]


def test_the_draw_is_the_same_on_every_python() -> None:
    splits = draw_splits(Rows(rows(*range(10))), selection=2, validation=2, test=2, seed=0)
    # Known answer: a change here changes the data of every saved run.
    assert [example.id for split in splits for example in split.examples] == ["id2", "id8", "id5", "id9", "id6", "id7"]


def test_the_hash_covers_ids_questions_answers_metadata_and_order() -> None:
    def sha(*examples: Example) -> str:
        return draw_splits(Rows(list(examples)), selection=len(examples), validation=0, test=0, seed=0).selection.sha256

    one = Example("a", "q", "1")
    variants = [
        one,
        Example("b", "q", "1"),
        Example("a", "r", "1"),
        Example("a", "q", "2"),
        Example("a", "q", "1", {"x": 1}),
    ]
    hashes = {sha(example) for example in variants}
    assert len(hashes) == len(variants)
    assert len(sha(one)) == 64
    assert draw_splits(Rows(rows(*range(4))), selection=2, validation=2, test=0, seed=0).selection.sha256 != sha(
        *rows(0, 1)
    )


def test_a_repeated_question_under_two_ids_is_drawn_once() -> None:
    problem = Rows([*rows(1, 2), *rows(1, 2, prefix="again")])
    splits = draw_splits(problem, selection=1, validation=1, test=0, seed=0)
    assert sorted(contents(splits)[0] + contents(splits)[1]) == ["question 1", "question 2"]
    with pytest.raises(InputError, match=r"found 2 distinct questions, 1 are missing"):
        draw_splits(problem, selection=1, validation=1, test=1, seed=0)


def test_training_rows_of_the_official_test_set_are_dropped_even_when_not_drawn() -> None:
    problem = Rows(rows(*range(10)), rows(*range(5, 15), prefix="test"))
    splits = draw_splits(problem, selection=3, validation=2, test=1, seed=0)
    assert sorted(contents(splits)[0] + contents(splits)[1]) == [f"question {number}" for number in range(5)]


def test_one_id_for_two_questions_is_an_error() -> None:
    with pytest.raises(InputError, match=r"id 'id1' names two questions"):
        draw_splits(Rows(rows(1, 2), [Example("id1", "other", "1")]), selection=1, validation=1, test=1, seed=0)
    with pytest.raises(InputError, match=r"id 'id1' names two questions"):
        draw_splits(Rows([*rows(1), Example("id1", "other", "1")]), selection=1, validation=1, test=0, seed=0)


def test_short_data_says_what_each_split_needs_and_what_is_missing() -> None:
    with pytest.raises(InputError) as caught:
        draw_splits(Rows(rows(*range(7))), selection=5, validation=4, test=3, seed=0)
    assert str(caught.value) == (
        "the data of problem rows is too short: data.selection needs 5, data.validation needs 4, data.test needs 3, "
        "12 rows in all; found 7 distinct questions, 5 are missing; ask for fewer or add data"
    )
    with pytest.raises(
        InputError, match=r"the official test data .*: data\.test needs 3, 3 rows in all; found 2 .* 1 are mis"
    ):
        draw_splits(Rows(rows(*range(9)), rows(20, 21)), selection=5, validation=4, test=3, seed=0)
    with pytest.raises(InputError, match=r"validation is -1"):
        draw_splits(Rows(rows(1)), selection=1, validation=-1, test=0, seed=0)


def test_a_generated_problem_that_cannot_make_enough_questions_is_an_error() -> None:
    problem = load_problem(ProblemConfig(name="largest_number", options={"count": 2, "below": 3}))
    assert len(draw_splits(problem, selection=2, validation=2, test=2, seed=0).test.examples) == 2
    with pytest.raises(InputError, match=r"make only 6 distinct questions, 7 are needed: 1 are missing"):
        draw_splits(problem, selection=3, validation=2, test=2, seed=0)


def test_training_examples_are_in_none_of_the_three_splits_and_leave_them_as_they_are() -> None:
    problem = Rows(rows(*range(20)))
    splits = draw_splits(problem, selection=5, validation=4, test=3, seed=0)
    training = draw_training(problem, splits, 8, seed=0)
    held_out = {example.id for split in splits for example in split.examples}
    assert len({example.id for example in training.examples} | held_out) == 20
    assert draw_training(problem, splits, 8, seed=0) == training
    assert draw_training(problem, splits, 5, seed=0).examples == training.examples[:5]
    assert draw_training(problem, splits, 5, seed=1).examples != training.examples[:5]
    with pytest.raises(
        InputError, match=r"splits leave of the data .* distillation\.examples needs 9, .* found 8 .* 1 are missing"
    ):
        draw_training(problem, splits, 9, seed=0)


def test_another_draw_leaves_the_test_split_as_it_is() -> None:
    problem, sizes = Rows(rows(*range(21))), {"selection": 5, "validation": 4, "test": 3, "seed": 0}
    first, other = draw_splits(problem, **sizes), draw_splits(problem, **sizes, redraw=7)
    assert other.test == first.test
    assert [len(split.examples) for split in other] == [5, 4, 3]
    ids = [example.id for split in (*first, *list(other)[:2]) for example in split.examples]
    assert len(set(ids)) == len(ids) == 21
    assert draw_splits(problem, **sizes, redraw=7) == other
    again = draw_splits(problem, **sizes, redraw=8)
    assert (again.selection, again.validation) != (other.selection, other.validation)
    assert draw_training(problem, first, 5, seed=7).examples != other.selection.examples
    message = (
        r"splits leave of the data .* data\.selection needs 5, data\.validation needs 4, .* found 8 .* 1 are missing"
    )
    with pytest.raises(InputError, match=message):
        draw_splits(Rows(rows(*range(20))), **sizes, redraw=7)


def test_no_row_of_an_official_test_set_is_trained_on_drawn_or_not() -> None:
    official = [Example(f"test {number}", f"question {number}", str(number)) for number in (1, 2, 3)]
    problem = Rows(rows(*range(9)), official)
    splits = draw_splits(problem, selection=2, validation=2, test=1, seed=0)
    training = draw_training(problem, splits, 2, seed=0)
    assert {example.question for example in training.examples}.isdisjoint(e.question for e in official)
    with pytest.raises(InputError, match=r"found 2 distinct questions, 1 are missing"):
        draw_training(problem, splits, 3, seed=0)


@pytest.mark.parametrize("name", ["largest_number", "reasoning_gym:chain_sum"])
def test_a_generated_problem_makes_new_questions_to_train_on(name: str) -> None:
    problem = load_problem(ProblemConfig(name=name))
    splits = draw_splits(problem, selection=9, validation=9, test=9, seed=0)
    training = draw_training(problem, splits, 30, seed=0)
    seen = {example.question for split in splits for example in split.examples}
    assert len({example.question for example in training.examples} - seen) == 30
