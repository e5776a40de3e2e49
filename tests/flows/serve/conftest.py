"""The finished tiny run, served by the command in a process of its own, and a desk with an engine in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

from tests.flows.models.helpers import make_run
from tests.flows.publishing import copy_home
from tests.flows.waves_run import OFF
from tests.made_once import made_once
from tests.patience import PATIENCE_S
from tests.tiny_model import make_tiny_model
from thickets.flows.models.open import find_model
from thickets.flows.results.runs import find_run, load_summary, open_scores
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.flows.serve.desk import Desk
from thickets.flows.serve.opening import catalogue_of, parts_for
from thickets.storage.home import Home
from thickets.tasks.engines import build_engine
from thickets.tasks.evaluation.voting import ballots, vote

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Server:
    """A server's address and its process."""

    url: str
    process: subprocess.Popen[str]

    @property
    def health(self) -> str:
        return self.url.removesuffix("/v1") + "/health"

    def client(self, **settings) -> openai.OpenAI:
        return openai.OpenAI(
            **{"base_url": self.url, "api_key": "none", "max_retries": 0, "timeout": PATIENCE_S} | settings
        )


@contextmanager
def serving(home: Home, *arguments: str, **variables: str) -> Iterator[Server]:
    """Run `thickets serve`, with output on the test's own standard error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "thickets", "serve", *arguments, "--home", str(home.root), "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=home.root)
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), "the server did not start"
        yield Server(url, process)
    finally:
        process.terminate()
        try:
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


@pytest.fixture(scope="session")
def _voting_home(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    """The home of a run whose five experts often disagree."""

    def run(folder: Path) -> None:
        make_tiny_model(folder / "model")
        make_run(folder, controls=OFF)

    return made_once(tmp_path_factory, "voting", run) / "home"


@pytest.fixture(scope="module")
def home(_voting_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    copy = Home(tmp_path_factory.mktemp("served") / "home")
    copy_home(_voting_home, copy.root)
    return copy


@pytest.fixture(scope="module")
def run(home: Home) -> RunSummary:
    return load_summary(find_run(home, "latest"))


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Server]:
    with serving(home, "latest") as found:
        yield found


@dataclass(frozen=True)
class Stored:
    """What the run itself holds about its test split: a row per question, in order.

    Attributes:
        questions: As the data has them.
        prompts: As they were rendered.
        votes: The ensemble's answers.
        first: The best expert's completions.
        base: The base's completions.
    """

    questions: list[str]
    prompts: list[str]
    votes: list[str | None]
    first: list[str]
    base: list[str]


@pytest.fixture(scope="module")
def stored(home: Home, run: RunSummary) -> Stored:
    return stored_of(home, run)


def stored_of(home: Home, run: RunSummary) -> Stored:
    """Read what a run holds about its test split."""
    with open_scores(home, home.run(run.run_id)) as scores:
        asked = scores.query("select example_id, question from examples where split = 'test' order by position")
        prompts = scores.query("select example_id, prompt from prompts where split = 'test'")
        voted = vote(ballots(scores, "test", experts_of(run)), run.evaluation.k, run.evaluation.rule)
        by_id = {
            who: dict(scores.completions("test", who).select("example_id", "completion").iter_rows())
            for who in (experts_of(run)["candidate_id"][0], "base")
        }
    ids = asked["example_id"].to_list()
    votes = dict(voted.select("example_id", "answer").iter_rows())
    rendered = dict(prompts.select("example_id", "prompt").iter_rows())
    first, base = ([found[each] for each in ids] for found in by_id.values())
    return Stored(
        asked["question"].to_list(), [rendered[each] for each in ids], [votes[each] for each in ids], first, base
    )


@pytest.fixture(scope="module")
def desk(home: Home) -> Iterator[Desk]:
    """A desk whose engine is in this process."""
    found = find_model(home, "latest")
    parts = parts_for(found, "cpu")
    made = Desk(catalogue_of(home, found, "latest"), parts, open_engine=lambda: build_engine(parts.spec))
    made.dispatcher.wait_until_ready()
    yield made
    made.dispatcher.close()
