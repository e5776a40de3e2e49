"""Merges in a run: tried on the validation split, kept only where they beat the base, and written as a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from tests.flows.test_kill import kill_after, shards, start
from tests.flows.tiny_run import tiny_sections
from tests.flows.waves_run import OFF, waves
from tests.tiny_model import make_tiny_model
from thickets import materialize
from thickets.flows.config.file import dump_config, parse_config
from thickets.flows.config.merge import MergeConfig
from thickets.flows.models.open import find_model
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run, load_summary
from thickets.flows.results.sentences import remarks
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import EnsembleManifest, MergeManifest
from thickets.tasks.merging.counts import count_merges
from thickets.tasks.types import Candidate, Merge


def test_a_merge_that_beats_the_base_stands_and_has_a_row_of_the_test_split(merged: RunSummary) -> None:
    found = merged.merge
    assert found is not None
    assert found.is_accepted
    assert found.chosen.accuracy.total == max(trial.accuracy.total for trial in found.trials)
    assert len(found.trials) == len({trial.id for trial in found.trials})
    assert len(found.trials) <= count_merges(("best", "z_score", "rank"), (1, 5, 8), 2, 64).validation == 13
    [row] = [control for control in merged.evaluation.controls if control.name == "merge"]
    assert row.label == found.chosen.label
    assert row.accuracy.n == 200
    assert row.minus_base.value > 0
    assert f"the {found.chosen.label}, scored" in " ".join(remarks(merged))


def searched(home: Path) -> RunSummary:
    section = {"directions": ["best", "z_score"], "radii": [0.5], "doublings": 3, "coordinate_steps": 6}
    return randopt(parse_config(waves(home, merge=section)))


def test_radii_are_doubled_and_coefficients_searched_and_nothing_is_scored_twice(merged: RunSummary) -> None:
    """The run that is there gets other merges: only these are scored, and a third session scores nothing."""
    home = merged.folder.parents[1]
    found = searched(home)
    assert (found.run_id, found.experts) == (merged.run_id, merged.experts)
    choice, before = found.merge, merged.merge
    assert choice is not None
    assert before is not None
    assert choice.search is not None
    assert max(trial.radius for trial in choice.trials) > 1  # beyond those that the configuration names
    assert choice.search.after.total >= choice.search.before.total
    assert (choice.search.n_moves > 0) == (choice.search.after.total > choice.search.before.total)
    assert len(choice.search.ids) == len(set(choice.search.ids)) <= 13
    tested = {choice.chosen.id} - {before.chosen.id}
    new = {trial.id for trial in choice.trials} - {trial.id for trial in before.trials}
    assert found.engine.n_answers == 48 * len(choice.search.ids) + 200 * (len(new) + len(tested))
    assert found.full_cost is not None
    row = found.full_cost.of("merge")
    assert row is not None
    assert row.get.n_forward == 48 * (65 + len(choice.search.ids)) + 200 * (1 + len(choice.trials))
    assert "is fitted to" in " ".join(remarks(found))
    assert (found.base_selection, found.sigmas) == (merged.base_selection, merged.sigmas)
    again = searched(home)
    assert again.merge == choice
    assert again.engine.n_answers == 0
    MergeManifest.load(RunFolder(found.folder).merge)
    assert randopt(parse_config(waves(home))).merge is None
    assert not RunFolder(found.folder).merge.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_kill_among_the_merges_changes_nothing(tmp_path: Path) -> None:
    section = {"directions": ["best", "z_score"], "radii": [0.5], "doublings": 2, "coordinate_steps": 12}
    homes = {name: tmp_path / name for name in ("undisturbed", "killed")}
    for name, home in homes.items():
        config = parse_config(waves(home, merge=section, scoring={"candidates_per_shard": 1}))
        (tmp_path / f"{name}.yaml").write_text(dump_config(config))
    assert start(tmp_path / "undisturbed.yaml").wait() == 0
    written = shards(homes["undisturbed"])
    of_merges = {name for name in written if "~merge" in candidates_in(homes["undisturbed"], name)}
    first = min(written[name][0] for name in of_merges)
    n_before = sum(stamp < first for stamp, _ in written.values())
    after: dict[str, tuple[int, int]] = {}
    for n_merges in (2, len(of_merges) - 12):  # in the midst of the radii, and of the coordinate search
        process = start(tmp_path / "killed.yaml")
        kill_after(process, homes["killed"], n_before + n_merges - len(after), 0.0, patience_s=600)
        before, after = after, shards(homes["killed"])
        assert {name: after[name] for name in before} == before
        assert 0 < len(after.keys() & of_merges) < len(of_merges)
    assert start(tmp_path / "killed.yaml").wait() == 0
    last = shards(homes["killed"])
    assert {name: last[name] for name in after} == after, "a finished shard was written again"
    assert last.keys() == written.keys()
    folders = {name: find_run(Home(home), "latest") for name, home in homes.items()}
    assert folders["killed"].merge.read_bytes() == folders["undisturbed"].merge.read_bytes()
    found = {name: load_summary(folder) for name, folder in folders.items()}
    assert found["killed"].merge == found["undisturbed"].merge
    assert found["killed"].evaluation == found["undisturbed"].evaluation


def candidates_in(home: Path, name: str) -> str:
    [path] = (home / "shards").glob(f"*/{name}")
    return " ".join(pl.read_parquet(path)["candidate_id"].unique())


def test_the_manifest_makes_the_model_again(merged: RunSummary) -> None:
    assert merged.merge is not None
    folder = RunFolder(merged.folder)
    found = MergeManifest.load(folder.merge)
    ensemble = EnsembleManifest.load(folder.manifest)
    assert (found.base, found.noise, found.recipe) == (ensemble.base, ensemble.noise, ensemble.recipe)
    members = tuple(Candidate(member.seed, member.sigma) for member in found.members)
    assert Merge(members, tuple(member.coefficient for member in found.members)).id == merged.merge.chosen.id


def test_a_merge_took_the_selection_split_and_the_validation_split_of_every_merge(merged: RunSummary) -> None:
    cost = merged.full_cost
    assert merged.merge is not None
    assert cost is not None
    row = cost.of("merge")
    assert row is not None
    n_validated = {trial.id for trial in merged.merge.trials}
    assert row.get.n_forward == 65 * 48 + 200 * (1 + len(n_validated))
    assert 65 * 48 < cost.search.n_forward <= 65 * 48 + 200 * (1 + 5)  # merges are no part of it
    assert (row.use.n_forward, row.n) == (200, 200)
    assert row.get.engine_s > 0


def test_without_the_section_a_run_is_the_same_run(merged: RunSummary, tmp_path: Path, prefect_server: None) -> None:
    plain = randopt(parse_config(waves(tmp_path)))
    assert (plain.run_id, plain.fingerprint) == (merged.run_id, merged.fingerprint)
    assert plain.experts == merged.experts
    assert plain.merge is None
    assert not RunFolder(plain.folder).merge.exists()


def test_a_merge_that_is_no_better_is_tried_and_not_kept(tmp_path: Path, prefect_server: None) -> None:
    sections = tiny_sections(make_tiny_model(tmp_path / "model")) | {"controls": OFF}
    config = parse_config(
        {**sections, "name": "tiny", "merge": {"k": [2]}, "storage": {"home": str(tmp_path / "home")}}
    )
    found = randopt(config)
    assert found.merge is not None
    assert {trial.k for trial in found.merge.trials} <= {2, 9}
    if not found.merge.is_accepted:
        assert not RunFolder(found.folder).merge.exists()
        assert found.evaluation.controls == ()
        with pytest.raises(InputError, match=r"--merge: tiny-\w+ has none"):
            materialize(found.run_id, tmp_path / "out", merge=True, home=tmp_path / "home")
    with_merge(RunFolder(found.folder))
    facts = materialize(found.run_id, tmp_path / "written", merge=True, home=tmp_path / "home")
    questions = [f"Which is the largest number: {n} or {n + 5}?" for n in range(6)]
    home = Home(tmp_path / "home")
    told = [find_model(home, found.run_id, merge=True), find_model(home, str(tmp_path / "written"), like=found.run_id)]
    recipe, checkpoint = (each.open().ask(questions) for each in told)
    assert recipe == checkpoint
    assert facts.title() == "merge of two"
    assert json.loads((tmp_path / "written" / "thickets.json").read_text())["members"][1]["coefficient"] == -0.5
    assert "--merge" in (tmp_path / "written" / "README.md").read_text()
    assert Home(tmp_path / "home").run(found.run_id).merge.is_file()


def with_merge(folder: RunFolder) -> None:
    """Give a run a merge of its two best experts, forth and back."""
    values = json.loads(folder.manifest.read_text())
    experts = (values.pop("experts") * 2)[:2]
    members = [
        {"seed": expert["seed"], "sigma": expert["sigma"], "coefficient": coefficient}
        for expert, coefficient in zip(experts, (1.0, -0.5), strict=True)
    ]
    for name in ("format_version", "method", "vote"):
        values.pop(name)
    MergeManifest.model_validate({**values, "label": "merge of two", "members": members}).save(folder.merge)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"directions": ["worst"]}, "'z_score' or 'rank'"),
        ({"radii": [1.0, 1.0]}, r"merge.radii is \[1.0, 1.0\]; each may stand once"),
        ({"radii": [0]}, "greater than 0"),
        ({"k": [0]}, "greater than"),
        ({"doublings": -1}, "greater than"),
        ({"coordinate_steps": 1001}, "less than"),
    ],
)
def test_settings_that_do_not_fit_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MergeConfig.model_validate(values)


def test_a_merge_of_more_than_the_population_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"merge\.k has 99, of a population of 64"):
        parse_config(waves(tmp_path, merge={"k": [99]}))


def test_an_eighth_of_the_population_is_tried_where_no_k_is_named() -> None:
    assert MergeConfig().ks([3, 5], 96) == (3, 5, 12)
    assert MergeConfig().ks([3, 5], 24) == (3, 5)
    assert MergeConfig(k=(7,)).ks([3, 5], 96) == (7,)
    assert MergeConfig().counted([3, 5], 96).planned == 3 * 3 + 2  # two radii and the average each; z_score
