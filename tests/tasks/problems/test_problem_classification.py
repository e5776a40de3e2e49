"""Classification: where the labels come from, what is refused, and what is asked and chosen from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.base import HasLabels, HasOptions, chooses
from thickets.tasks.problems.classification import Classification
from thickets.tasks.problems.file import written_out
from thickets.tasks.types import Example, Label

ROWS = [
    {"text": "The soup was cold.", "label": "negative"},
    {"text": "What a lovely evening!", "label": "positive"},
    {"text": "They open at nine.", "label": "neutral"},
    {"text": "Never again.", "label": "negative"},
]


def write(folder: Path, rows: list[dict]) -> str:
    path = folder / "reviews.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def problem(path: str, **changes) -> Classification:
    made = load_problem(ProblemConfig.model_validate({"name": "classification", "path": path, **changes}))
    assert isinstance(made, Classification)
    return made


def test_labels_are_the_answers_of_the_data_sorted_unless_the_config_names_them(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    made = problem(path)
    assert made.all_labels == ("negative", "neutral", "positive")
    [message] = made.messages(made.examples(0, 0)[0])
    assert message["content"] == (
        "The soup was cold.\n\nWhich label fits this text: negative, neutral or positive? Reply with just the label."
    )
    assert problem(path, labels=["positive", "neutral", "negative"]).all_labels == ("positive", "neutral", "negative")
    assert made.judgement()["labels"] == ["negative", "neutral", "positive"]


def test_every_gold_answer_proves_itself_and_another_label_is_wrong(tmp_path: Path) -> None:
    made = problem(write(tmp_path, ROWS))
    for example in made.examples(0, 0):
        right = made.extract(f"**{example.answer.title()}**", example)
        assert right is not None
        assert made.score(right, example) == 1000
        wrong = next(label for label in made.all_labels if label != example.answer)
        assert made.score(made.extract(wrong, example) or "", example) == 0
        assert made.extract("positive or negative", example) is None
        assert made.n_options(example) == 3
    assert isinstance(made, HasOptions)


def test_a_label_may_be_a_number_with_a_name(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": n % 3} for n in range(6)]
    made = problem(write(tmp_path, rows), labels=["bad", "fine", "good"])
    assert [made.gold(example) for example in made.examples(0, 0)][:3] == ["bad", "fine", "good"]
    with pytest.raises(InputError, match="line 3: the gold answer '2' cannot be judged by verifier label"):
        problem(write(tmp_path, rows), labels=["bad", "good"]).examples(0, 0)
    assert problem(write(tmp_path, rows)).all_labels == ("0", "1", "2")


def test_a_data_set_s_own_names_are_the_labels(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = ["World", "Sports", "Sci/Tech"]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    rows = {"text": ["a", "b", "c", "d"], "label": [2, 0, 2, 0]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "set" / "train.parquet")
    made = problem(f"hf:{tmp_path / 'set'}")
    assert made.all_labels == tuple(names)  # also the one that no row has
    assert [made.gold(example) for example in made.examples(0, 0)] == ["Sci/Tech", "World", "Sci/Tech", "World"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": f"text {n}", "label": f"class {n}"} for n in range(101)], "has 101 different answers"),
        ([{"text": f"text {n}", "label": "same"} for n in range(3)], "has 1 different answers"),
        ([{"text": f"text {n}", "label": label} for n, label in enumerate(("Yes", "yes", "no"))], "rename one"),
    ],
    ids=["too many", "one", "alike"],
)
def test_answers_that_cannot_be_labels_are_refused(tmp_path: Path, rows: list[dict], said: str) -> None:
    with pytest.raises(InputError, match=r"problem\.path") as error:
        problem(write(tmp_path, rows)).examples(0, 0)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ["one"]}, "has only 'one'; name two at least"),
        ({"labels": ["a", "A "]}, "differ in case"),
        ({"labels": ["a", "..."]}, "more than punctuation"),
        ({"labels": ["a", "b\nc"]}, "one line"),
        ({"labels": ["a", "{question}"]}, "without {question}"),
        ({"likelihood_per": "token"}, "but problem.scoring is 'generate'"),
        ({"scoring": "likelihood"}, "'generate' or 'loglikelihood'"),
        ({"choices_column": "choices"}, "classification takes none"),
        ({"verifier": "exact"}, "classification takes none"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        ProblemConfig.model_validate({"name": "classification", "path": "a.jsonl", **changes})


def test_by_likelihood_every_label_is_an_answer_to_choose_from(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    made = problem(path, scoring="loglikelihood")
    assert chooses(made)
    assert not chooses(problem(path))
    assert isinstance(made, HasLabels)
    assert made.likelihood_per == "label"
    assert made.labels(made.examples(0, 0)[0])[0] == Label("negative", "negative")
    assert problem(path, scoring="loglikelihood", likelihood_per="token").likelihood_per == "token"


def test_what_is_written_out_needs_no_data(tmp_path: Path) -> None:
    made = problem(write(tmp_path, ROWS))
    config = written_out(made, ProblemConfig(name="classification", path="x"))
    alone = load_problem(config.model_copy(update={"path": "gone.jsonl"}))
    asked = Example("a", "A fine place.", "")
    assert alone.messages(asked) == made.messages(asked)
    assert alone.identity() == made.identity()
