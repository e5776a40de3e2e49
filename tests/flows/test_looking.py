"""Where a run's questions and replies can be seen is said by its report, by Prefect and by MLflow."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import mlflow
import pytest

from thickets.flows.publish.tracking import result_markdown
from thickets.flows.results.looking import VIEW_VARIABLE, how_to_look, view_command, view_page
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import RunFolder

FOLDER = RunFolder(Path("/data/my home/runs/quickstart-1a2b"))


def test_the_command_names_the_home_for_any_shell() -> None:
    assert view_command(FOLDER) == "thickets view quickstart-1a2b --home '/data/my home'"


@pytest.mark.parametrize("address", ["http://127.0.0.1:4300", "https://runs.example.org/", "http://[::1]:4300"])
def test_a_known_address_is_a_link(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(VIEW_VARIABLE, address)
    assert f"<{address.rstrip('/')}/runs/quickstart-1a2b>" in how_to_look(FOLDER)
    assert view_command(FOLDER) in how_to_look(FOLDER)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:4300", "javascript:alert(1)", "http://me:secret@host:1", "http://a> [x](b", "http://["]
)
def test_what_is_no_plain_address_is_no_link(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(VIEW_VARIABLE, address)
    assert view_page("quickstart-1a2b") is None
    assert how_to_look(FOLDER) == f"Every question and reply:\n\n```\n{view_command(FOLDER)}\n```"


def test_report_and_mlflow_say_it_of_a_real_run(finished: RunSummary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VIEW_VARIABLE, "http://127.0.0.1:4300")  # when it is read; it was not when the run was made
    report = unescape(re.sub(r"<[^>]+>", "", (finished.folder / "report.html").read_text(encoding="utf-8")))
    assert f"thickets view {finished.run_id} --home " in report
    assert "4300" not in report
    assert finished.tracking is not None
    tags = mlflow.MlflowClient(finished.tracking.mlflow_uri).get_run(finished.tracking.mlflow_run_id).data.tags
    assert f"thickets view {finished.run_id} --home " in tags["mlflow.note.content"]
    assert f"<http://127.0.0.1:4300/runs/{finished.run_id}>" in result_markdown(finished)
