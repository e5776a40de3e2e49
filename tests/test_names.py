"""Everything has one name, `thickets...`, and it works beside a user's own `tasks`, `storage` and `flows`."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sqlite3
from pathlib import Path

import pytest

from tests.stranger import HOSTILE, Stranger, make_stranger, succeeded
from thickets.flows.cli import main as cli

_IMPORT_ALL = """
import importlib, importlib.util, json, pkgutil, thickets
def ended(name):
    raise AssertionError(name)
found = {"bare": [name for name in ("flows", "tasks", "storage") if importlib.util.find_spec(name)], "failed": {}}
names = [each.name for each in pkgutil.walk_packages(thickets.__path__, "thickets.", onerror=ended)]
for name in names:
    if name != "thickets.__main__":
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            found["failed"][name] = error.name
found["names"] = names
print(json.dumps(found))
"""
_RUN_IT = """
from thickets import load_config, search
if __name__ == "__main__":
    print(search(load_config("my.yaml")).run_id)
"""
_ASK_IT = """
import sys
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
import pandas as pd
answer = model.predict(pd.DataFrame({"question": ["Write 3 letters."]}))
print(answer["answer"][0], answer["n_votes"][0])
from thickets import open_run, search
print(search.__name__)
"""
_USERS_TEST = """
from thickets.flows.config.file import parse_config
import mine

def test_theirs():
    assert parse_config({"problem": "largest_number"}).problem.name == "largest_number"
    assert mine.judge("even", type("E", (), {"answer": "even"})) == ("even", True)
"""
_WITHOUT_PASSWD = """
import pwd
def absent(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = absent
from thickets.flows.cli.main import main
main()
"""
_OPTIONAL = {"triton", "vllm", "ray", "trl", "peft", "reasoning_gym", "fsspec", "s3fs"}


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Stranger:
    return make_stranger(tmp_path_factory.mktemp("stranger") / "work", tiny_model)


@pytest.fixture(scope="module")
def printed(stranger: Stranger) -> str:
    """Standard output of `python -m thickets run` there, into the home of the option and no other."""
    source = stranger.write(storage={"home": str(stranger.root / "of-the-config")})
    command = ("-m", "thickets", "run", source, "--home", str(stranger.home), "--json")
    return succeeded(stranger.python(*command, THICKETS_HOME=str(stranger.root / "of-the-shell")))


@pytest.fixture(scope="module")
def ran(stranger: Stranger, printed: str) -> Stranger:
    """The folder after `python -m thickets run` there."""
    return stranger


def test_json_is_all_of_standard_output_and_the_home_is_the_option_s(ran: Stranger, printed: str) -> None:
    assert [json.loads(printed)] == ran.summaries
    assert not any(ran.root.glob("of-the-*"))


def test_every_module_is_imported_under_its_installed_name_from_an_empty_folder(
    tiny_model: Path, tmp_path: Path
) -> None:
    empty = Stranger(tmp_path, tiny_model, make_stranger(tmp_path / "other", tiny_model).environment)
    # A checkout on PYTHONPATH holds the three folders themselves: where one is, only the names of modules are checked.
    checkout = any(
        (Path(path) / "flows").is_dir() for path in empty.environment.get("PYTHONPATH", "").split(":") if path
    )
    found = json.loads(succeeded(empty.python("-P", "-c", _IMPORT_ALL)))
    assert set(found["failed"].values()) <= {name for name in _OPTIONAL if importlib.util.find_spec(name) is None}
    assert len(found["names"]) > 150
    assert {name.split(".")[1] for name in found["names"]} == {"flows", "tasks", "storage", "__main__"}
    if not checkout:
        assert found["bare"] == []


@pytest.mark.parametrize("name", HOSTILE)
def test_the_users_own_modules_raise(stranger: Stranger, name: str) -> None:
    done = stranger.python("-c", f"import {name}")
    assert f"{name} is the user's own, and was imported" in done.stderr


@pytest.mark.slow
def test_a_run_with_a_verifier_of_ones_own(ran: Stranger) -> None:
    assert len(ran.summaries) == 1
    assert ran.summaries[0]["problem"] == "questions"  # questions.jsonl


@pytest.mark.slow
def test_the_same_from_python(stranger: Stranger) -> None:
    stranger.write(name="from-python")
    assert stranger.script(_RUN_IT).splitlines()[-1].startswith("from-python")


@pytest.mark.slow
def test_engines_in_processes_of_their_own(stranger: Stranger) -> None:
    engine = {**stranger.config()["engine"], "replicas": 2}
    succeeded(stranger.python("-m", "thickets", "run", stranger.write(name="two", engine=engine)))
    assert any(each["run_id"].startswith("two") for each in stranger.summaries)


@pytest.mark.slow
def test_engines_on_ray(stranger: Stranger) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    engine = {**stranger.config()["engine"], "executor": "ray", "replicas": 1}
    succeeded(stranger.python("-m", "thickets", "run", stranger.write(name="on-ray", engine=engine)))
    assert any(each["run_id"].startswith("on-ray") for each in stranger.summaries)


@pytest.mark.slow
def test_a_deployment_on_a_worker_started_there(stranger: Stranger) -> None:
    config = {key: value for key, value in stranger.config(name="deployed").items() if key != "storage"}
    own = {"THICKETS_HOME": str(stranger.home)}
    ports = ("--prefect-port", "0", "--mlflow-port", "0", "--view-port", "0")
    up = succeeded(stranger.python("-m", "thickets", "up", "--detach", *ports, **own))
    try:
        address = re.search(r"prefect:\s+(\S+)", up)
        assert address
        script = (
            "from thickets.flows.config.file import parse_config\n"
            "from thickets.flows.deployments.client import submit\n"
            f"print(submit(parse_config({config!r})).run_id)\n"
        )
        (stranger.root / "client.py").write_text(script)
        done = succeeded(stranger.python("client.py", PREFECT_API_URL=f"{address[1]}/api"))
        assert done.splitlines()[-1].startswith("deployed")
    finally:
        succeeded(stranger.python("-m", "thickets", "down", **own))


@pytest.mark.slow
def test_the_logged_ensemble_answers_there_and_the_flows_are_importable_after_it(ran: Stranger) -> None:
    [model] = [path.parent for path in ran.home.glob("mlartifacts/**/MLmodel") if (path.parent / "code").is_dir()][:1]
    code = model / "code"
    assert {"thickets", "mine.py"} <= {path.name for path in code.iterdir()}
    assert {"__init__.py", "flows", "tasks", "storage"} <= {path.name for path in (code / "thickets").iterdir()}
    assert not list(code.rglob("__pycache__"))
    (ran.root / "ask.py").write_text(_ASK_IT)
    answer, name = succeeded(ran.python("ask.py", str(model))).splitlines()[-2:]
    assert answer.split()[0] in ("even", "odd")
    assert name == "search"


def test_a_test_of_the_users_own(stranger: Stranger) -> None:
    (stranger.root / "test_theirs.py").write_text(_USERS_TEST)
    done = succeeded(stranger.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_theirs.py"))
    assert "1 passed" in done


def test_on_windows_the_command_line_names_wsl(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("thickets.flows.cli.main.os.name", "nt")
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: Windows is supported through WSL: install and call thickets there\n"


def test_the_command_line_is_imported_where_no_posix_module_is(stranger: Stranger) -> None:
    missing = "import sys; sys.modules.update(dict.fromkeys(('fcntl', 'pwd', 'grp', 'termios', 'resource', 'pty')));"
    succeeded(stranger.python("-c", f"{missing} import thickets.flows.cli.main", LOGNAME="somebody"))


@pytest.mark.slow
def test_a_run_of_a_user_without_a_passwd_entry(stranger: Stranger) -> None:
    names = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME"), "")
    arguments = ["run", stranger.write(name="nobody"), "--set", "tracking.experiment=nobody"]
    succeeded(stranger.python("-c", _WITHOUT_PASSWD, *arguments, **names, HOME=str(stranger.root)))
    with sqlite3.connect(stranger.home / "mlflow.db") as store:
        found = store.execute("select distinct value from tags where key = 'mlflow.user'").fetchall()
    assert (f"uid-{os.getuid()}",) in found
