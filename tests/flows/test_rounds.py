"""Rounds: each searches around what the one before has made, goes on where it stopped, and ends by validation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from pydantic import ValidationError

from benchmarks.contest_picture import entrants, picture
from tests.flows.test_kill import kill_after, shards, start, wait_while_it_runs
from tests.flows.test_merge import OFF, waves
from tests.flows.tiny_run import tiny_sections
from tests.tiny_model import make_tiny_model
from thickets import ask, materialize, search
from thickets.flows.api.searches import rival
from thickets.flows.config.file import load_config, parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.rounds import Rounds
from thickets.flows.results.rounds_text import rounds_sentences
from thickets.flows.results.runs import find_run, load_summary, open_scores
from thickets.flows.rounds.flow import randopt_rounds
from thickets.flows.rounds.steps import round_config
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.export.card import ExpertFacts
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate

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
    rows = [json.dumps({"question": f"Say {number}.", "answer": "all"}) for number in range(180)]
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
def verifier(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verifier's module can be imported."""
    monkeypatch.syspath_prepend(folder)


@pytest.fixture(scope="module")
def rounds(folder: Path, prefect_server: None) -> Rounds:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        found = search(parse_config(sections(folder)))
    assert isinstance(found, Rounds)
    return found


def test_a_second_round_searches_around_what_the_first_has_made(rounds: Rounds, folder: Path, verifier: None) -> None:
    home = Home(folder / "home")
    first, second = rounds.rounds
    assert first.merge is not None
    assert second.base == first.merge  # the same model, written and read again
    assert second.model == str(home.root / "models" / f"{first.run_id}-merge")
    assert rounds.last_minus_first is not None
    assert rounds.last_minus_first.value > 0
    assert "after round 2" in rounds_sentences(rounds)[0]
    group = home.root / "groups" / rounds.group_id
    assert Rounds.model_validate_json((group / "rounds.json").read_text()) == rounds
    assert (group / "report.html").is_file()

    client = mlflow.MlflowClient(f"sqlite:///{home.mlflow_db.resolve()}")
    [logged] = client.search_runs(["1"], f"tags.`thickets.run_id` = '{rounds.group_id}'")
    assert {"report.html", "rounds.json"} <= {item.path for item in client.list_artifacts(logged.info.run_id)}
    curve = client.get_metric_history(logged.info.run_id, "round.ensemble")
    assert [(point.step, point.value) for point in curve] == [(1, first.ensemble.value), (2, second.ensemble.value)]
    below = client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{logged.info.run_id}'")
    assert {run.data.tags["thickets.run_id"] for run in below} == {first.run_id, second.run_id}

    last = rounds.last_made
    assert last is not None
    assert last.merge is not None
    assert rounds.last_minus_ensemble is not None
    assert rounds.last_minus_ensemble.value == pytest.approx(last.merge.value - last.ensemble.value)

    facts = materialize(second.run_id, folder / "best", home=home.root)
    assert isinstance(facts, ExpertFacts)
    around = weights(Path(second.model), Candidate(facts.seed, facts.sigma))
    assert around == weights(folder / "best", None), "a second round's candidate is its materialised self, bit for bit"
    assert around != weights(folder / "model", Candidate(facts.seed, facts.sigma))


def weights(model: Path, candidate: Candidate | None) -> str:
    engine = TransformersEngine(EngineSpec("transformers", model, Perturbation(), device="cpu"))
    engine.load(candidate)
    return engine.weights_sha256()


def test_a_home_that_has_moved_finds_the_models_of_its_rounds_and_goes_on(
    rounds: Rounds, folder: Path, tmp_path: Path, verifier: None
) -> None:
    second, moved = rounds.rounds[1], Home(tmp_path / "moved")
    shutil.copytree(folder / "home", moved.root)
    (folder / "home").rename(folder / "gone")
    try:
        run = find_run(moved, second.run_id)
        model = moved.root / "models" / f"{rounds.rounds[0].run_id}-merge"
        assert load_config(str(run.config)).model == str(model)
        assert load_summary(run).run_id == second.run_id
        assert ask(second.run_id, "Say 7.", home=moved.root).n_asked
        assert materialize(second.run_id, tmp_path / "best", home=moved.root)

        before = {path: path.stat().st_mtime_ns for path in (moved.root / "shards").glob("*/*.parquet")}
        values = sections(folder, most=3) | {"storage": {"home": str(moved.root)}}
        longer = randopt_rounds(parse_config(values))
    finally:
        (folder / "gone").rename(folder / "home")
    assert [each.run_id for each in longer.rounds[:2]] == [each.run_id for each in rounds.rounds]
    assert [each.wall_s for each in longer.rounds[:2]] == [each.wall_s for each in rounds.rounds]  # not of reading them
    assert len(longer.rounds) == 3
    after = {path: path.stat().st_mtime_ns for path in (moved.root / "shards").glob("*/*.parquet")}
    assert before.items() < after.items()  # nothing was scored twice
    sigmas = [load_summary(find_run(moved, each.run_id)).sigmas[0].sigma for each in longer.rounds]
    assert sigmas == [0.05, 0.025, 0.0125]


def test_the_contests_picture_has_a_point_for_the_base_and_for_each_that_takes_part(
    rounds: Rounds, folder: Path, tmp_path: Path, verifier: None
) -> None:
    shutil.copytree(folder / "home", tmp_path / "home")
    small = ["rivals.es.population=4", "rivals.es.rounds=2", "rivals.es.evaluate_every=1", "rivals.es.sigma=0.05"]
    evolved = rival(rounds.rounds[0].run_id, "es", small, home=tmp_path / "home").rival

    each = entrants(Home(tmp_path / "home"), rounds.group_id)
    [axes] = picture([each]).axes
    one_model, vote, es = ([point.tolist() for point in bar.lines[0].get_xydata()] for bar in axes.containers)
    first, second = rounds.rounds
    assert first.merge is not None
    assert second.merge is not None
    costs = [rounds.cost_to_get(number) for number in (1, 2)]
    tokens = [0, *(cost.n_tokens for cost in costs if cost is not None)]
    accuracies = [first.base.value, first.merge.value, second.merge.value]
    assert one_model == [list(point) for point in zip(tokens, accuracies, strict=True)]
    assert vote[0][1] == first.ensemble.value
    assert es == [[evolved.cost_to_get.n_tokens, evolved.test.value]]
    looks = [point.validation.value for point in evolved.points]
    assert looks in [list(line.get_ydata()) for line in axes.lines]


@pytest.mark.slow
def test_killed_in_its_second_round_it_goes_on_there(
    rounds: Rounds, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = sections(folder)
    values["storage"] = {"home": str(tmp_path / "home")}
    (tmp_path / "killed.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(folder)  # where the verifier is
    process = start(tmp_path / "killed.yaml")
    models = tmp_path / "home" / "models"
    wait_while_it_runs(process, models.is_dir)
    kill_after(process, tmp_path / "home", 2, 0.1)
    before = shards(tmp_path / "home")
    assert start(tmp_path / "killed.yaml").wait() == 0
    after = shards(tmp_path / "home")
    assert {name: after[name] for name in before} == before, "a finished shard was written again"
    [kept] = (tmp_path / "home" / "groups").glob("*/rounds.json")
    killed = Rounds.model_validate_json(kept.read_text())
    assert killed.last_minus_first == rounds.last_minus_first
    assert [each.ensemble for each in killed.rounds] == [each.ensemble for each in rounds.rounds]


def test_the_first_round_is_the_run_without_rounds_and_later_ones_draw_noise_of_their_own(folder: Path) -> None:
    config = parse_config(sections(folder))
    first, second, third = (round_config(config, number, Path("m") if number > 1 else None) for number in (1, 2, 3))
    assert first == config.model_copy(update={"rounds": None})
    assert len({each.population.seed for each in (first, second, third)}) == 3
    assert round_config(config, 3, Path("m")) == third
    assert (second.model, second.data) == ("m", config.data)


def test_rounds_with_questions_of_their_own_share_the_test_split(
    rounds: Rounds, folder: Path, tmp_path: Path, verifier: None
) -> None:
    shutil.copytree(folder / "home", tmp_path / "home")
    values = sections(folder) | {"storage": {"home": str(tmp_path / "home")}}
    values["rounds"] |= {"questions": "own"}
    found = randopt_rounds(parse_config(values))
    assert found.rounds[0].run_id == rounds.rounds[0].run_id
    asked = []
    for run_id in (found.rounds[1].run_id, rounds.rounds[1].run_id):
        with open_scores(Home(tmp_path / "home"), find_run(Home(tmp_path / "home"), run_id)) as scores:
            rows = scores.query("select split, question from examples").iter_rows()
            asked.append({(split, question) for split, question in rows})
    own, same = asked
    assert {split for split, _ in own ^ same} == {"selection", "validation"}
    first = {question for split, question in same if split != "test"}
    assert first.isdisjoint(question for split, question in own if split != "test")
    assert randopt_rounds(parse_config(values)) == found


def test_questions_of_its_own_that_a_later_round_would_lack_are_missed_before_the_first(
    folder: Path, tmp_path: Path, verifier: None
) -> None:
    values = sections(folder) | {"storage": {"home": str(tmp_path / "home")}}
    values["data"] = {"selection": 30, "validation": 40, "test": 60}
    values["rounds"] |= {"questions": "own"}
    with pytest.raises(
        InputError, match=r"data\.selection needs 30, data\.validation needs 40, .* found 50 .* 20 are missing"
    ):
        search(parse_config(values))
    assert not (tmp_path / "home" / "runs").exists()


def test_students_of_later_rounds_learn_from_questions_of_their_own_and_may_take_up_the_rows_before(
    folder: Path,
) -> None:
    config = parse_config(sections(folder) | {"distillation": {"seed": 3}, "rounds": {"by": "distill"}})
    first = round_config(config, 1, None)
    assert first == config.model_copy(update={"rounds": None})
    later = [round_config(config, number, Path("m"), ["tiny-1/0123abcd"][: number - 2]) for number in (2, 3)]
    assert all(each.distillation is not None for each in later)
    assert len({each.distillation.seed for each in (first, *later) if each.distillation}) == 3
    assert [each.distillation.earlier for each in later if each.distillation] == [(), ("tiny-1/0123abcd",)]
    assert RunConfig.model_validate(later[1].model_dump(mode="json")) == later[1]


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
        ({"distillation": {}}, "but rounds.by is merge; set it to distill"),
        ({"rounds": {"by": "distill"}}, "but distillation is missing"),
        ({"rounds": {"student_from": "base"}}, "by is merge, which trains none"),
        (
            {"rounds": {"by": "distill", "student_from": "base", "questions": "own"}, "distillation": {}},
            "rows of all rounds need the same splits",
        ),
        (
            {"rounds": {"by": "distill", "student_from": "base"}, "distillation": {"objective": "logits"}},
            "distillation.objective is logits",
        ),
        ({"rounds": {"budget": {"tokens": 5, "seconds": 5}}}, "give exactly one of the two"),
        ({"rounds": {"budget": {}}}, "tokens is None and seconds is None"),
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
