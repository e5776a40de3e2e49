"""The config of a problem accepts what can work and says how to mend what cannot."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from thickets.tasks.problems import ProblemConfig


def test_a_bare_string_is_the_name() -> None:
    assert ProblemConfig.model_validate("largest_number") == ProblemConfig(name="largest_number")


@pytest.mark.parametrize(
    "values",
    [
        {"name": "gsm8k", "path": "train.jsonl", "test_path": "hf:openai/gsm8k:main@test"},
        {"name": "file", "path": "a.csv", "id_column": "n", "verifier": "regex", "pattern": r"Answer: (\d+)"},
        {
            "name": "file",
            "path": "a.csv",
            "verifier": "package.module:function",
            "instruction": '{question} {"json": 1}',
        },
        {"name": "file", "path": "a.csv", "verifier": "choice", "choices_column": "choices", "examples": "b.csv"},
        {
            "name": "file",
            "path": "a.csv",
            "answer_aliases_column": "answers[1:]",
            "n_examples": 1,
            "examples": [{"question": "2 + 2?", "answer": 4}],
        },
        {"name": "reasoning_gym:chain_sum", "options": {"max_terms": 3}, "system": "Be brief."},
        {"name": "largest_number", "options": {"count": 2, "below": 10}},
    ],
)
def test_a_good_config_survives_a_round_trip(values: dict[str, Any]) -> None:
    config = ProblemConfig.model_validate(values)
    assert ProblemConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            "gsm9k",
            r"problem.name is 'gsm9k'; allowed are largest_number, countdown, signals, gsm8k, mbpp, file and",
        ),
        ("reasoning_gym:", r"problem.name is 'reasoning_gym:'"),
        ("gsm8k", r"problem.path is missing; gsm8k needs its data"),
        ({"name": "file", "path": ""}, r"at least 1 character"),
        ({"name": "file", "path": "a.csv", "colour": 1}, r"Extra inputs"),
        (
            {"name": "file", "path": "a.csv", "options": {"below": 3}},
            r"problem.options is \{'below': 3\}, but file reads",
        ),
        (
            {"name": "file", "path": "a.csv", "verifier": "fuzzy"},
            r"problem.verifier is 'fuzzy'; allowed are exact, num",
        ),
        ({"name": "file", "path": "a.csv", "answer_column": "question"}, r"both 'question'"),
        ({"name": "file", "path": "a.csv", "pattern": "x"}, r"problem.pattern is 'x', but problem.verifier is None"),
        ({"name": "file", "path": "a.csv", "verifier": "regex"}, r"problem.pattern is missing; give one"),
        ({"name": "file", "path": "a.csv", "verifier": "regex", "pattern": "("}, r"not a regular expression"),
        ({"name": "file", "path": "a.csv", "verifier": "regex", "pattern": "(a)(b)"}, r"with 2 groups"),
        ({"name": "file", "path": "a.csv", "verifier": "regex", "pattern": r"\d*"}, r"matches the empty text"),
        (
            {"name": "signals", "verifier": "exact"},
            r"problem.verifier is 'exact', but signals makes",
        ),
        ({"name": "largest_number", "verifier": "fuzzy"}, r"problem.verifier is 'fuzzy'; allowed are exact, num"),
        ({"name": "largest_number", "pattern": "a"}, r"a pattern goes with verifier: regex"),
        ({"name": "largest_number", "path": "a.csv"}, r"problem.path is 'a.csv', but largest_number makes its own"),
        (
            {"name": "reasoning_gym:gcd", "verifier": "exact"},
            r"problem.verifier is 'exact', but reasoning_gym:gcd makes",
        ),
        (
            {"name": "file", "path": "a.csv", "choices_column": "o"},
            r"problem.choices_column is 'o', but problem.verifier is No",
        ),
        (
            {"name": "file", "path": "a", "verifier": "choice", "choices_column": "o", "answer_aliases_column": "p"},
            r"problem.answer_aliases_column is 'p', but of the options in problem.choices_column one is right",
        ),
        (
            {"name": "gsm8k", "path": "a", "answer_aliases_column": "p"},
            r"is 'p', but gsm8k takes none; remove it \(it is for file\)",
        ),
        (
            {"name": "file", "path": "a.csv", "n_examples": 2},
            r"problem.n_examples is 2, but problem.examples is missing",
        ),
        ({"name": "file", "path": "a.csv", "examples": []}, r"problem.examples is empty; name a file"),
        ({"name": "file", "path": "a.csv", "examples": [{"question": "q"}]}, r"answer\n  Field required"),
        (
            {"name": "largest_number", "examples": "a.csv"},
            r"problem.examples is 'a.csv', but largest_number makes its own",
        ),
        ({"name": "largest_number", "allow_unsafe_verifier": True}, r"largest_number runs no code"),
        ({"name": "largest_number", "instruction": "Go."}, r"contains \{question\} 0 times"),
        ({"name": "largest_number", "instruction": "{question}{question}"}, r"contains \{question\} 2 times"),
    ],
)
def test_a_bad_config_is_refused_with_the_value_and_the_fix(values: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ProblemConfig.model_validate(values)


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ({"name": "largest_number"}, "largest_number"),
        ({"name": "largest_number", "label": "Warm-up 1"}, "Warm-up 1"),
        ({"name": "gsm8k", "path": "data/train.jsonl"}, "gsm8k"),
        ({"name": "reasoning_gym:chain_sum"}, "reasoning_gym:chain_sum"),
        ({"name": "file", "path": "~/data/reviews.v2.jsonl"}, "reviews.v2"),
        ({"name": "file", "path": "My [red] reviews.csv"}, "My-red-reviews"),  # rich would take [red] for a colour
        ({"name": "file", "path": "Übung.csv"}, "Übung"),
        ({"name": "file", "path": "(1).csv"}, "1"),
        ({"name": "file", "path": "!.csv"}, "file"),
        ({"name": "file", "path": f"{'long ' * 30}.csv"}, ("long-" * 12)[:-1]),
        ({"name": "file", "path": "hf:owner/reviews:en@train"}, "reviews"),
        ({"name": "file", "path": "hf:/data/sets/mine@test"}, "mine"),
        ({"name": "file", "path": "a.csv", "label": "mine"}, "mine"),
        ({"name": "file", "path": "data/my.train.jsonl.gz"}, "my.train"),
        ({"name": "file", "path": "data/train.CSV.ZST"}, "train"),
    ],
)
def test_what_a_problem_is_called(values: dict[str, Any], title: str) -> None:
    config = ProblemConfig.model_validate(values)
    assert config.title == title
    assert ProblemConfig(name="largest_number", label=title if ":" not in title else None)  # every file's name is one


@pytest.mark.parametrize("label", ["", "-x", "a\nb", "[b]", "x" * 61])
def test_a_label_that_would_break_a_title_is_refused(label: str) -> None:
    with pytest.raises(ValidationError, match=r"problem\.label is "):
        ProblemConfig(name="largest_number", label=label)


def test_every_field_is_described_for_the_form_that_is_drawn_from_it() -> None:
    assert all(field.description for field in ProblemConfig.model_fields.values())


def test_a_form_that_sends_every_default_is_accepted() -> None:
    ProblemConfig.model_validate(ProblemConfig(name="largest_number").model_dump())
