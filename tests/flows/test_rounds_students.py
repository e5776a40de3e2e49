"""Rounds that make students: each is kept by the validation split, and the next search is around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import thickets.flows.distillation.flow as distilling
from tests.flows.test_distillation import taught_model
from tests.flows.test_merge import OFF
from tests.flows.tiny_run import tiny_sections
from thickets import search
from thickets.flows.config.file import load_config, parse_config
from thickets.flows.results.distillation import distill_folder, finished_distillations
from thickets.flows.results.rounds import Rounds
from thickets.storage.errors import RunError
from thickets.storage.home import Home
from thickets.storage.models.base import resolve_model
from thickets.tasks.distillation.data import STUDENT
from thickets.tasks.scoring.worker import ScoringWorker

# A third of what the model says is right (it says 10 or 11 to most questions), which a student learns from few rows.
_VERIFIER = """
def ends_in_0(text, example):
    if text in (example.answer, "round", "odd"):
        return text, float(text != "odd")
    digits = [character for character in text if character.isdigit()]
    said = "round" if digits and digits[-1] == "0" else "odd"
    return said, float(said == "round")
"""


def prepare(folder: Path) -> None:
    """Write model and verifier."""
    taught_model(folder / "model")
    (folder / "last_digit.py").write_text(_VERIFIER)


def sections(folder: Path, rounds: dict[str, Any]) -> dict[str, Any]:
    return tiny_sections(folder / "model") | {
        "name": "students",
        "problem": {
            "name": "largest_number",
            "options": {"below": 60, "count": 2},
            "verifier": "last_digit:ends_in_0",
        },
        "data": {"selection": 16, "validation": 60, "test": 30},
        "population": {"size": 6, "sigmas": [0.02]},
        "decoding": {"max_tokens": 6},
        "engine": {"kind": "transformers", "device": "cpu", "batch_size": 64},
        "scoring": {"examples_per_block": 64, "candidates_per_shard": 6},
        "selection": {"k_values": [3]},
        "controls": OFF,
        "distillation": {
            "examples": 40,
            "attempts": 1,
            "hard_only": False,
            "min_rows": 1,
            "method": "full",
            "learning_rate": 0.002,
            "max_steps": 8,
            "eval_every": 4,
            "controls": {"rejection_sampling": False, "labels": False},
        },
        "rounds": {"by": "distill", **rounds},
        "storage": {"home": str(folder / "home")},
    }


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_round_goes_on_from_the_student_before_and_where_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    home = Home(tmp_path / "home")
    one = search(parse_config(sections(tmp_path, {"most": 1, "student_from": "base"})))
    assert isinstance(one, Rounds)
    assert one.ended == "the one round was made"
    assert one.last_minus_first is not None
    assert one.last_minus_first.low > 0

    longer = parse_config(sections(tmp_path, {"most": 2, "student_from": "base"}))
    with monkeypatch.context() as patch:

        def fail(*arguments: object) -> None:
            raise RunError("planted")

        patch.setattr(distilling, "train_and_judge", fail)
        with pytest.raises(RunError, match="planted"):
            search(longer)
    score, scored = ScoringWorker.score, []

    def watched(self: ScoringWorker, shard):  # type: ignore[no-untyped-def]
        scored.append(shard.split)
        return score(self, shard)

    monkeypatch.setattr(ScoringWorker, "score", watched)
    found = search(longer)
    assert isinstance(found, Rounds)
    assert set(scored) == {"validation", "test"}, "of the interrupted round the student's answers alone were missing"

    first, second = found.rounds
    assert first == one.rounds[0]
    [taught] = finished_distillations(home.run(first.run_id))
    [again] = finished_distillations(home.run(second.run_id))
    student = distill_folder(home.run(first.run_id), taught.distillation_id).model(STUDENT)
    assert second.model == str(student)
    assert second.base == first.student, "the same model, written and read again"
    folder = distill_folder(home.run(second.run_id), again.distillation_id)
    section = load_config(str(folder.config)).distillation
    assert section is not None
    assert section.earlier == (f"{first.run_id}/{taught.distillation_id}",)
    assert taught.student is not None
    assert again.student is not None
    own = pl.read_parquet(folder.data).filter(pl.col("arm") == STUDENT).height
    assert again.student.training.n_rows == own + taught.student.training.n_rows
    card = (folder.model(STUDENT) / "README.md").read_text()
    assert str(tmp_path / "model") in card, "trained from the model before any round"
    assert resolve_model(str(folder.model(STUDENT))).sha256 == again.student.sha256

    scored.clear()
    assert search(longer) == found
    assert scored == []
