"""`thickets view` shows real runs, says where, and ends at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from tests.flows.command_line import Result
from tests.patience import PATIENCE_S
from thickets.flows.results.summary import RunSummary
from thickets.flows.view.address import Address
from thickets.flows.view.app import make_app
from thickets.storage.home import Home

ROOT = Path(__file__).parents[3]


def test_a_real_run_has_every_page_and_its_answers_are_marked(finished: RunSummary) -> None:
    home, run = Home(finished.folder.parents[1]), f"/runs/{finished.run_id}"
    pages = TestClient(make_app(home, Address("127.0.0.1", 4300)), base_url="http://127.0.0.1:4300")
    for path in (
        "",
        "/examples",
        "/candidates",
        "/changed",
        "/examples?split=validation",
        "/examples?show=never+right",
    ):
        assert pages.get(run + path).status_code == 200, path
    with_answer = next(
        html
        for n in range(finished.split_sizes["test"])
        if "<mark>" in (html := pages.get(_question(pages, run, n)).text)
    )
    assert "gold is " in with_answer or "= gold " in with_answer
    assert "The prompt" in with_answer
    assert pages.get("/runs/latest/examples").status_code == 200


def _question(pages: TestClient, run: str, place: int) -> str:
    csv = pages.get(f"{run}/examples.csv").text.splitlines()
    return f"{run}/examples/test/{csv[1 + place].split(',')[1].strip(chr(34))}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none",), "RUN: there are no runs in"),
        (("--host", "0.0.0.0"), "--host: 0.0.0.0 can be reached from other machines"),
        (("--host", "203.0.113.1"), "can be reached from other machines"),
    ],
)
def test_what_cannot_be_served_is_a_line(thickets, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    result: Result = thickets("view", *arguments, "--no-open", "--home", str(tmp_path))
    assert result[0] == 2
    assert words in result[2]


@pytest.mark.slow
def test_it_prints_its_address_and_ends_with_an_interrupt(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "thickets", "view", "--no-open", "--port", "0", "--home", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        found = httpx.get(address, follow_redirects=True, timeout=PATIENCE_S)
        assert "There are no runs in" in found.text
        assert "server" not in found.headers
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130
        assert "Traceback" not in told
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
