"""What the tests of models and of the registry have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tests.flows.tiny_run import ANY_DIGITS
from thickets.flows.config.file import parse_config
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home, RunFolder
from thickets.tasks.evaluation.voting import ballots

TEST_N = 24
NAME = "largest_number-model"


def make_run(folder: Path, **sections: Any) -> RunSummary:
    values = {
        "name": "tiny",
        "model": str(folder / "model"),
        "problem": {"name": "largest_number", "options": {"below": 10, "count": 2}, **ANY_DIGITS},
        "data": {"selection": 12, "validation": 6, "test": TEST_N},
        "population": {"size": 7, "sigmas": [0.05, 0.2]},
        "decoding": {"max_tokens": 8},
        "engine": {"kind": "transformers", "device": "cpu"},
        "selection": {"k_values": [5]},
        "controls": {"chance": False},  # which a model without any skill does not beat: it would not be promoted
        "storage": {"home": str(folder / "home")},
    }
    return randopt(parse_config(values | sections))


def stored(home: Home, run: RunSummary) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The experts' ballots on the test split and the questions, both as the run kept them."""
    with open_scores(home, RunFolder(run.folder)) as reader:
        cast = ballots(reader, "test", reader.leaderboard("selection", limit=run.evaluation.k))
        questions = reader.query(
            "select example_id, question, answer from examples where split = 'test' order by position"
        )
    return cast, questions
