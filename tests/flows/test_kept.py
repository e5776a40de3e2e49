"""A run's own configuration is read where it lies, from any folder and after its home was moved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.flows.command_line import refused
from thickets.flows.config.file import load_config
from thickets.flows.config.kept import record_start
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home, RunFolder

CONFIG = """\
name: mine
model: {model}
problem: {{name: file, path: {path}, examples: shots.jsonl, verifier: exact}}
storage: {{home: thickets-data}}
"""
ROW = '{"question": "q", "answer": "a"}\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, in which a run has begun; the process has gone to another one since."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    for name in ("data/mine.jsonl", "shots.jsonl"):
        (folder / name).write_text(ROW)
    (tmp_path / "elsewhere").mkdir()
    run = RunFolder(folder / "thickets-data" / "runs" / "mine-1").create()
    run.config.write_text(CONFIG.format(model="smollm2-135m-instruct", path="data/mine.jsonl"))
    run.lock.touch()
    monkeypatch.chdir(folder)
    record_start(run)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def kept(project: Path) -> str:
    return str(project / "thickets-data" / "runs" / "mine-1" / "config.yaml")


def test_a_run_is_done_again_from_another_folder(project: Path) -> None:
    config = load_config(kept(project))
    assert config.problem is not None
    assert config.storage.home == project / "thickets-data"
    assert config.problem.path == str(project / "data" / "mine.jsonl")
    assert config.problem.examples == str(project / "shots.jsonl")
    assert config.problem.title == "mine"
    assert config.model == "smollm2-135m-instruct"


def test_home_and_data_may_move_together_or_the_home_alone(project: Path, tmp_path: Path) -> None:
    moved = project.rename(tmp_path / "other disk")
    config = load_config(kept(moved))
    assert config.problem is not None
    assert (config.storage.home, config.problem.path) == (moved / "thickets-data", str(moved / "data" / "mine.jsonl"))
    home = (moved / "thickets-data").rename(tmp_path / "home")
    moved.rename(project)
    config = load_config(str(home / "runs" / "mine-1" / "config.yaml"))
    assert config.problem is not None
    assert (config.storage.home, config.problem.path) == (home, str(project / "data" / "mine.jsonl"))


def test_what_is_missing_is_named_where_it_was_in_one_line(thickets, project: Path, tiny_model: Path) -> None:
    Path(kept(project)).write_text(CONFIG.format(model=tiny_model, path="data/mine.jsonl"))
    (project / "data" / "mine.jsonl").unlink()
    message = refused(thickets("run", kept(project)))
    assert str(project / "data" / "mine.jsonl") in message
    assert "problem.path" in message


def test_a_model_in_a_folder_is_found_again(project: Path) -> None:
    (project / "weights").mkdir()
    Path(kept(project)).write_text(CONFIG.format(model="./weights", path="hf:owner/name"))
    config = load_config(kept(project))
    assert config.problem is not None
    assert (config.model, config.problem.path) == (str(project / "weights"), "hf:owner/name")


@pytest.mark.parametrize("is_absolute", [True, False])
def test_a_model_that_lies_in_the_home_moves_with_it(project: Path, tmp_path: Path, is_absolute: bool) -> None:
    home = str(project / "thickets-data") if is_absolute else "thickets-data"
    inside = project / "thickets-data" / "models" / "mine-0-merge"
    inside.mkdir(parents=True)
    text = CONFIG.format(model=f"{home}/models/mine-0-merge", path="data/mine.jsonl")
    Path(kept(project)).write_text(text.replace("home: thickets-data", f"home: {home}"))
    assert load_config(kept(project)).model == str(inside)
    copied = shutil.copytree(project / "thickets-data", tmp_path / "copy")
    config = load_config(str(copied / "runs" / "mine-1" / "config.yaml"))
    assert config.model == str(copied / "models" / "mine-0-merge"), "the copy does not need the original"
    shutil.rmtree(copied / "models")
    config = load_config(str(copied / "runs" / "mine-1" / "config.yaml"))
    assert config.model == str(inside), "a home that was copied without its models still finds them"


def test_the_option_and_the_overrides_win(project: Path) -> None:
    config = load_config(kept(project), ["storage.home=there", "problem.path=x.jsonl"])
    assert config.problem is not None
    assert (config.storage.home, config.problem.path) == (Path("there"), "x.jsonl")


def test_another_file_called_config_yaml_stays_as_it_is(project: Path, tmp_path: Path) -> None:
    mine = tmp_path / "elsewhere" / "runs" / "mine" / "config.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(CONFIG.format(model="x/y", path="data/mine.jsonl"))
    config = load_config(str(mine))
    assert config.problem is not None
    assert (config.storage.home, config.problem.path) == (Path("thickets-data"), "data/mine.jsonl")


def test_a_search_records_where_it_was_started(finished: RunSummary) -> None:
    recorded = Home(finished.folder.parents[1]).run(finished.run_id).started_in
    here, beside = map(Path, recorded.read_text().splitlines())
    assert here.is_absolute()
    assert not beside.is_absolute()
