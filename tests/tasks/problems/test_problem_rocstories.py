"""Stories of five sentences and other texts: what is asked, what the reference is, what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.consensus import Consensus, consensus_of
from thickets.tasks.problems.fields import RIGHT_AT, VERIFIERS
from thickets.tasks.problems.judging import Judge
from thickets.tasks.verifiers.texts import PAIRS, SIMILARITY

# Of our own writing, in the authors' columns.
STORIES = [
    {
        "storyid": "1",
        "storytitle": "The pot",
        "sentence1": "Mira planted a sunflower seed in a cracked blue pot.",
        "sentence2": "Every morning she gave it water before school.",
        "sentence3": "For three weeks nothing came out of the soil.",
        "sentence4": "Her brother told her to throw the pot away.",
        "sentence5": "The next day a green shoot stood in the pot.",
    },
    {
        "storyid": "2",
        "storytitle": "The bus",
        "sentence1": "Ola missed the last bus home.",
        "sentence2": "It had begun to snow.",
        "sentence3": "He had no money left for a taxi.",
        "sentence4": "A neighbour stopped her car beside him.",
        "sentence5": "She drove him to his door and would take nothing for it.",
    },
]


def story_file(folder: Path, stories: list[dict[str, str]] = STORIES) -> Path:
    path = folder / "stories.csv"
    with path.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(STORIES[0]))
        writer.writeheader()
        writer.writerows(stories)
    return path


def test_the_first_four_sentences_are_asked_and_the_fifth_is_the_reference(tmp_path: Path) -> None:
    problem = load_problem(ProblemConfig(name="rocstories", path=str(story_file(tmp_path))))
    first, second = problem.examples(0, 0)
    assert first.answer == STORIES[0]["sentence5"]
    [turn] = problem.messages(second)
    assert turn["content"].startswith("Ola missed the last bus home. It had begun to snow. He had no money")
    assert "would take nothing" not in turn["content"]
    assert "The bus" not in turn["content"]


def test_stories_prove_themselves_and_replies_are_graded(tmp_path: Path) -> None:
    problem = load_problem(ProblemConfig(name="rocstories", path=str(story_file(tmp_path))))
    judge = Judge(problem)
    for example in problem.examples(0, 0):
        assert judge.judge([example.answer], [example])[0].score == 1000
        other, near, empty, unfinished = judge.judge(
            ["Bananas.", f"And then: {example.answer}", " ... ", "<think>The pot"], [example] * 4
        )
        assert (other.score, other.correct) == (0, False)
        assert near.correct
        assert 800 < near.score < 1000
        assert empty.answer is unfinished.answer is None


def test_it_loads_from_a_data_set_s_folder_and_from_prompt_and_continuation(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    pl.DataFrame(STORIES).write_parquet(tmp_path / "hub" / "train.parquet")
    from_hub = load_problem(ProblemConfig(name="rocstories", path=f"hf:{tmp_path / 'hub'}")).examples(0, 0)
    (tmp_path / "pairs.jsonl").write_text(
        "".join(json.dumps({"prompt": each.question, "continuation": each.answer}) + "\n" for each in from_hub)
    )
    pairs = load_problem(ProblemConfig(name="rocstories", path=str(tmp_path / "pairs.jsonl"))).examples(0, 0)
    assert pairs == from_hub
    assert [each.answer for each in pairs] == [story["sentence5"] for story in STORIES]


@pytest.mark.parametrize("sentence", ["", "   "])
def test_a_story_with_a_sentence_missing_names_row_and_column(tmp_path: Path, sentence: str) -> None:
    path = story_file(tmp_path, [STORIES[0], STORIES[1] | {"sentence3": sentence}])
    with pytest.raises(InputError, match=r"stories.csv', row 2: column 'sentence3' is .*; a story has five sentences"):
        load_problem(ProblemConfig(name="rocstories", path=str(path))).examples(0, 0)


def test_a_reference_without_a_word_is_refused_with_its_row(tmp_path: Path) -> None:
    path = story_file(tmp_path, [STORIES[0] | {"sentence5": "?!"}])
    with pytest.raises(InputError, match=r"row 1: the gold answer '\?!' cannot be judged by verifier similarity"):
        load_problem(ProblemConfig(name="rocstories", path=str(path))).examples(0, 0)


def test_a_file_of_one_s_own_is_judged_and_votes_by_similarity(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(json.dumps({"question": "Say it shortly.", "answer": ["It rained.", "Rain fell all day."]}) + "\n")
    problem = load_problem(ProblemConfig(name="file", path=str(path), verifier="similarity", metric="rouge1"))
    [example] = problem.examples(0, 0)
    assert problem.score("rain fell", example) == 666
    assert problem.right_at == 500
    assert consensus_of(problem) == Consensus("rouge1")
    counted = load_problem(ProblemConfig(name="file", path=str(path)))
    assert not consensus_of(counted).is_closest


def test_what_is_right_is_half_a_text_unless_it_is_said() -> None:
    assert ProblemConfig(name="rocstories", path="a.csv").right_at == RIGHT_AT["similarity"] == 0.5
    assert ProblemConfig(name="rocstories", path="a.csv", right_at=1).right_at == 1
    assert ProblemConfig(name="file", path="a.csv", verifier="similarity").right_at == 0.5
    assert ProblemConfig(name="file", path="a.csv").right_at == 1
    kept = ProblemConfig(name="rocstories", path="a.csv").model_dump()
    assert ProblemConfig.model_validate(kept).model_dump() == kept


def test_the_metric_is_part_of_the_judgement_and_not_of_what_is_generated(tmp_path: Path) -> None:
    one, other = (
        load_problem(ProblemConfig(name="rocstories", path=str(story_file(tmp_path)), metric=metric))
        for metric in ("rougeL", "rouge1")
    )
    assert one.judgement() != other.judgement()
    assert one.messages(one.examples(0, 0)[0]) == other.messages(other.examples(0, 0)[0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"verifier": "numeric"}, "rocstories is judged by similarity"),
        ({"metric": "bleu"}, "rougeL"),
        ({"name": "file", "metric": "rouge1"}, "problem.metric is 'rouge1', but no texts are compared"),
        ({"name": "gsm8k", "verifier": "similarity"}, "gsm8k has no texts for answers; it is for rocstories, file"),
        ({"name": "gsm8k", "metric": "rouge1"}, "gsm8k takes none"),
        ({"right_at": 0}, "greater than 0"),
    ],
)
def test_settings_that_do_not_fit_are_named(fields: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ProblemConfig(**{"name": "rocstories", "path": "a.csv", **fields})


def test_every_metric_judges_and_votes_and_the_config_knows_it() -> None:
    metrics = set(ProblemConfig.model_fields["metric"].annotation.__args__)  # type: ignore[union-attr]
    assert metrics == SIMILARITY.keys() == PAIRS.keys()
    assert "similarity" in VERIFIERS
