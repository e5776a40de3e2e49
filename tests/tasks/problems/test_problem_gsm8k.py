"""GSM8K: its real gold answers score 1.0, and replies are read as its rules say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.gsm8k import SAMPLE, VERIFIER, Gsm8k

DATA = Path(__file__).parents[3] / ".." / "shared" / "data" / "gsm8k"


@pytest.fixture(scope="module")
def real() -> Problem:
    if not (DATA / "test.jsonl").is_file():
        pytest.skip("the GSM8K data is not beside the repository")
    return load_problem(ProblemConfig(name="gsm8k", path=str(DATA / "train.jsonl"), test_path=str(DATA / "test.jsonl")))


def test_real_gold_answers_score_one(real: Problem) -> None:
    test = real.test_examples()
    assert test is not None
    assert len(test) == 1319  # the official test data
    for example in [*test, *real.examples(0, 0)]:
        answer = real.extract(example.answer, example)
        assert answer is not None
        assert real.score(answer, example)
        # Written by hand, as the data's own readers do it.
        assert answer == example.answer.rpartition("#### ")[2].replace(",", "").strip()


def test_real_training_and_test_questions_do_not_overlap(real: Problem) -> None:
    test = real.test_examples()
    assert test is not None
    assert not {example.id for example in test} & {example.id for example in real.examples(0, 0)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3*8=24\n#### 19", "19"),
        ("#### 1\nno wait\n#### $1,234.50", "1234.5"),
        ("#### 19 rolls in 3 trays", "19"),
        ("#### 19\n\nQ: And what is 5 + 5?", "19"),
        ("3*8 = <<3*8=24>>24 rolls", "24"),
        ("#### Step 1: 3*8=24\n24 - 5 = 19", "19"),
        (r"so \boxed{19 \text{ rolls}}, of 24", "19"),
        (r"\boxed{\$1{,}200}", "1200"),
        ("#### none\n" + r"\boxed{7} of 9", "7"),
        (r"\boxed{x} of 9", None),
        ("24 - 5 = 19\n#### none", None),
        ("24 - 5 = 19.", "19"),
        ("no idea", None),
    ],
)
def test_marked_numbers_come_before_the_last_one(text: str, expected: str | None) -> None:
    assert VERIFIER.extract(text, SAMPLE) == expected


@given(st.integers(-(10**9), 10**9), st.text(alphabet="ab ,.:"))
def test_a_marked_answer_is_found_whatever_stands_before_it(value: int, before: str) -> None:
    assert VERIFIER.extract(f"{before} 12 #### {value:,}", SAMPLE) == str(value)


def test_a_near_miss_is_wrong() -> None:
    problem = Gsm8k(ProblemConfig(name="gsm8k", path="unused.jsonl"))
    assert problem.score("19", SAMPLE)
    assert not problem.score("19.01", SAMPLE)
    assert not problem.score("24", SAMPLE)


def test_an_answer_without_marker_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    rows = [{"question": "a?", "answer": "so\n#### 1"}, {"question": "b?", "answer": "it is 2"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(
        InputError, match=r"problem.path is .*, line 2: the gold answer 'it is 2' cannot .* in #### and"
    ):
        load_problem(ProblemConfig(name="gsm8k", path=str(path))).examples(0, 0)


def test_another_verifier_sees_the_final_answer_and_the_prompt_stays() -> None:
    own, math = (Gsm8k(ProblemConfig(name="gsm8k", path="unused.jsonl", verifier=name)) for name in (None, "math"))
    assert own.messages(SAMPLE) == math.messages(SAMPLE)
    assert own.sampling == math.sampling
    assert own.judgement() != math.judgement()
    answer = math.extract(r"So \boxed{\frac{38}{2}}.", SAMPLE)
    assert answer == "19"
    assert math.score(answer, SAMPLE) == 1000
