"""Rounds: each searches around what the one before has made, goes on where it stopped, and ends by validation."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from tests.flows.test_kill import kill_after, shards, start
from tests.flows.test_merge import OFF, waves
from tests.flows.tiny_run import tiny_sections
from tests.tiny_model import make_tiny_model
from thickets import ask, search
from thickets.flows.config.file import parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.rounds import Rounds
from thickets.flows.results.rounds_text import rounds_sentences
from thickets.flows.results.runs import find_run, load_summary
from thickets.flows.rounds.flow import randopt_rounds
from thickets.flows.rounds.steps import round_config
from thickets.storage.errors import InputError
from thickets.storage.home import Home

# What even a model without sense can be led to write more of.
_VERIFIER = """
def letters(text, example):
    if text == example.answer:
        return text, 1.0
    if not text.endswith("/1000"):
        text = f"{1000 * sum(character in 'abcdefghijklm' for character in text) // max(1, len(text))}/1000"
    return text, int(text.removesuffix("/1000")) / 1000
"""


def sections(folder: Path, most: int = 2) -> dict[str, Any]:
    rows = [json.dumps({"question": f"Say {number}.", "answer": "all"}) for number in range(120)]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    return tiny_sections(folder / "model") | {
        "name": "rounds",
        "problem": {"name": "file", "path": str(folder / "rows.jsonl"), "verifier": "some_letters:letters"},
        "data": {"selection": 24, "validation": 40, "test": 30},
        "population": {"size": 24, "sigmas": [0.05]},
        "engine": {"kind": "transformers", "device": "cpu", "batch_size": 64},
        "scoring": {"examples_per_block": 64, "candidates_per_shard": 8},
        "selection": {"k_values": [1, 3]},
        "controls": OFF,
        "merge": {"directions": ["z_score"], "radii": [1.0, 2.0]},
        "rounds": {"most": most, "shrink": 0.5},
        "storage": {"home": str(folder / "home")},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("rounds")
    make_tiny_model(found / "model")
    (found / "some_letters.py").write_text(_VERIFIER)
    return found


@pytest.fixture
def rounds(folder: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: None) -> Rounds:
    monkeypatch.syspath_prepend(folder)
    found = search(parse_config(sections(folder)))
    assert isinstance(found, Rounds)
    return found


def test_a_second_round_searches_around_what_the_first_has_made_and_a_third_adds_only_itself(
    rounds: Rounds, folder: Path
) -> None:
    home = Home(folder / "home")
    first, second = rounds.rounds
    assert first.merge is not None
    assert second.base == first.merge  # the same model, written and read again
    assert second.model == str(home.root / "models" / f"{first.run_id}-merge")
    assert rounds.last_minus_first is not None
    assert rounds.last_minus_first.value > 0
    assert "after round 2" in rounds_sentences(rounds)[0]
    kept = home.root / "groups" / rounds.group_id / "rounds.json"
    assert Rounds.model_validate_json(kept.read_text()) == rounds

    before = {path: path.stat().st_mtime_ns for path in (home.root / "shards").glob("*/*.parquet")}
    longer = randopt_rounds(parse_config(sections(folder, most=3)))
    assert [each.run_id for each in longer.rounds[:2]] == [first.run_id, second.run_id]
    assert len(longer.rounds) == 3
    after = {path: path.stat().st_mtime_ns for path in (home.root / "shards").glob("*/*.parquet")}
    assert before.items() < after.items()  # nothing was scored twice
    sigmas = [load_summary(find_run(home, each.run_id)).sigmas[0].sigma for each in longer.rounds]
    assert sigmas == [0.05, 0.025, 0.0125]
    assert ask(longer.rounds[1].run_id, "Say 7.", home=home.root).n_asked  # around a model that the home made


@pytest.mark.slow
def test_killed_in_its_second_round_it_goes_on_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: None
) -> None:
    values = sections(folder)
    values["storage"] = {"home": str(tmp_path / "home")}
    (tmp_path / "killed.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(folder)  # where the verifier is
    process = start(tmp_path / "killed.yaml")
    models = tmp_path / "home" / "models"
    while not models.is_dir() and process.poll() is None:
        time.sleep(0.05)
    kill_after(process, tmp_path / "home", 2, 0.1)
    before = shards(tmp_path / "home")
    assert start(tmp_path / "killed.yaml").wait() == 0
    after = shards(tmp_path / "home")
    assert {name: after[name] for name in before} == before, "a finished shard was written again"
    [kept] = (tmp_path / "home" / "groups").glob("*/rounds.json")
    killed = Rounds.model_validate_json(kept.read_text())
    monkeypatch.syspath_prepend(folder)
    undisturbed = search(parse_config(sections(folder)))
    assert isinstance(undisturbed, Rounds)
    assert killed.last_minus_first == undisturbed.last_minus_first
    assert [each.ensemble for each in killed.rounds] == [each.ensemble for each in undisturbed.rounds]


def test_the_first_round_is_the_run_without_rounds_and_later_ones_draw_noise_of_their_own(folder: Path) -> None:
    config = parse_config(sections(folder))
    first, second, third = (round_config(config, number, Path("m") if number > 1 else None) for number in (1, 2, 3))
    assert first == config.model_copy(update={"rounds": None})
    assert len({each.population.seed for each in (first, second, third)}) == 3
    assert round_config(config, 3, Path("m")) == third
    assert (second.model, second.data) == ("m", config.data)


def test_rounds_end_where_no_merge_beats_its_base(tmp_path: Path, prefect_server: None) -> None:
    model = make_tiny_model(tmp_path / "model")
    values = tiny_sections(model) | {"name": "idle", "controls": OFF, "storage": {"home": str(tmp_path / "home")}}
    # One question cannot tell anything from anything.
    values |= {"data": {"selection": 2, "validation": 1, "test": 2}, "merge": {}, "rounds": {"most": 3}}
    values |= {"population": {"size": 2, "sigmas": [0.05]}, "selection": {"k_values": [1]}}
    found = search(parse_config(values))
    assert isinstance(found, Rounds)
    assert len(found.rounds) == 1
    assert found.last_minus_first is None
    assert "No round made a model" in rounds_sentences(found)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"merge": None}, "but merge is missing"),
        ({"distillation": {}}, "rounds and distillation are both set"),
        ({"problem": None, "problems": ["signals", "largest_number"]}, "rounds and problems are both set"),
        ({"rounds": {"most": 0}}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_go_together_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    values = waves(tmp_path, merge={}, rounds={"most": 2})
    with pytest.raises(ValidationError, match=message):
        RunConfig.model_validate(values | change)


def test_a_single_search_takes_no_rounds(tmp_path: Path, prefect_server: None) -> None:
    with pytest.raises(InputError, match="rounds: these are for"):
        randopt(parse_config(waves(tmp_path, merge={}, rounds={"most": 2})))
    with pytest.raises(InputError, match="rounds: missing"):
        randopt_rounds(parse_config(waves(tmp_path)))
