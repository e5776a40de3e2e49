"""What a model's generation_config.json asks for beyond greedy decoding is named, because it is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_model import make_tiny_model
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.description import describe_engine
from thickets.flows.plan import make_plan
from thickets.storage.models.base import resolve_model
from thickets.tasks.engines.generation_config import left_out
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (
            {"repetition_penalty": 1.1, "temperature": 0.6, "top_p": 0.95, "do_sample": True},
            {"repetition_penalty": 1.1},
        ),
        ({"no_repeat_ngram_size": 3, "num_beams": 4}, {"no_repeat_ngram_size": 3, "num_beams": 4}),
        ({"bad_words_ids": [[1]], "suppress_tokens": [7]}, {"bad_words_ids": [[1]], "suppress_tokens": [7]}),
        ({"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "num_beams": 1, "bad_words_ids": None}, {}),
        ({"temperature": 0.6, "eos_token_id": [1, 2], "max_length": 20}, {}),
    ],
)
def test_what_would_change_a_greedy_answer_is_found(tmp_path: Path, values: dict, found: dict) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps(values))
    assert left_out(tmp_path) == found


def test_a_model_without_the_file_leaves_nothing_out(tmp_path: Path) -> None:
    assert left_out(tmp_path) == {}


def test_the_line_about_the_engine_names_what_is_left_out(config: Callable[..., RunConfig], tmp_path: Path) -> None:
    def line() -> str:
        run = config(model=str(tmp_path / "model"))
        problem = load_problem(run.single_problem)
        splits = draw_splits(problem, selection=12, validation=10, test=14, seed=0)
        return str(describe_engine(make_plan(run, resolve_model(run.model), problem, splits)))

    path = make_tiny_model(tmp_path / "model") / "generation_config.json"
    assert "leaves out" not in line()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"repetition_penalty": 1.1, "no_repeat_ngram_size": 3}))
    assert line().endswith(
        "; decoding is greedy and leaves out repetition_penalty 1.1, no_repeat_ngram_size 3 of the model's "
        "generation_config.json"
    )
