"""What `thickets runs` says of each run, and which of them is the latest."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.flows.command_line import refused
from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.results.runs import find_run, list_runs, load_summary
from thickets.flows.search.beginning import recorded
from thickets.flows.search.progress import ScoringProgress
from thickets.flows.search.search import search
from thickets.storage.errors import InputError, RunError
from thickets.storage.home import Home, RunFolder
from thickets.tasks.engines import Engine, EngineSpec
from thickets.tasks.scoring.units import UnitReport

MakeConfig = Callable[..., RunConfig]
NO_ROOM = InputError("engine.device: cuda has 2 GiB, and 6 GiB are needed")
ANSWERED = UnitReport("base", 0, n=5, n_correct=1, n_tokens=10, start_s=0.1, load_s=0.1, generate_s=0.1)


@pytest.fixture
def home(config: MakeConfig) -> Home:
    return Home(config().storage.home)


@pytest.fixture
def make(config: MakeConfig, home: Home) -> Callable[[str, str], RunFolder]:
    """Make the folder of a run whose configuration was written on a day of 2025, as a start does first."""

    def write(run_id: str, day: str) -> RunFolder:
        folder = home.run(run_id).create()
        folder.config.write_text(dump_config(config()))
        at = datetime.fromisoformat(f"2025-{day}T12:00:00+00:00").timestamp()
        os.utime(folder.config, (at, at))
        return folder

    return write


def work(folder: RunFolder, error: BaseException | None = None, *, answers: bool = True, scores: bool = True) -> None:
    """A session: begins to score, gets an answer, and ends with the error or with a summary."""
    progress = ScoringProgress()
    with contextlib.suppress(BaseException if error else ()), recorded(folder, progress) as begin:
        if scores:
            begin()
        if scores and answers:
            progress.on_unit(ANSWERED)
        if error is not None:
            raise error
        folder.summary.write_text("{}")


def test_states_and_the_latest(make: Callable[[str, str], RunFolder], home: Home) -> None:
    work(make("done", "01-01"))
    work(make("killed", "01-02"), KeyboardInterrupt(), answers=False)
    work(make("failed", "01-03"), RunError("MLflow is away"), scores=False)
    work(make("refused", "01-04"), NO_ROOM, answers=False)
    rows = {row.run_id: row for row in list_runs(home)}
    assert {name: (row.state, row.has_begun) for name, row in rows.items()} == {
        "done": ("completed", True),
        "killed": ("interrupted", True),
        "failed": ("interrupted", False),
        "refused": ("refused", False),
    }
    assert [row.run_id for row in list_runs(home)] == ["killed", "done", "refused", "failed"]
    assert rows["refused"].date == datetime(2025, 1, 4, 12, tzinfo=UTC)
    assert (datetime.now(UTC) - rows["done"].date).total_seconds() < 60
    assert find_run(home, "latest").run_id == "killed"
    with pytest.raises(InputError, match=r"^RUN: refused was refused: engine.device: cuda has 2 GiB"):
        load_summary(home.run("refused"))


def test_a_start_with_nothing_left_to_do_does_not_make_a_run_the_latest(
    make: Callable[[str, str], RunFolder], home: Home
) -> None:
    work(make("first", "01-01"))
    work(make("second", "01-02"))
    work(home.run("first"), scores=False)
    assert find_run(home, "latest").run_id == "second"
    work(home.run("first"))  # a control more, say
    assert find_run(home, "latest").run_id == "first"
    work(make("new", "01-03"), scores=False)  # another run had scored all of it
    assert find_run(home, "latest").run_id == "new"


def test_a_refusal_later_on_takes_nothing_back(make: Callable[[str, str], RunFolder], home: Home) -> None:
    folder = make("long", "01-01")
    work(folder, KeyboardInterrupt())
    begun = folder.begun.read_text()
    work(folder, NO_ROOM, answers=False)
    assert (list_runs(home)[0].state, folder.begun.read_text()) == ("interrupted", begun)
    work(folder, InputError("a gold answer cannot be read"))
    assert list_runs(home)[0].state == "interrupted"


def test_a_refused_configuration_that_is_started_again_is_no_longer_refused(
    make: Callable[[str, str], RunFolder], home: Home
) -> None:
    work(make("small", "01-01"), NO_ROOM, answers=False)
    work(home.run("small"), KeyboardInterrupt())
    assert list_runs(home)[0].state == "interrupted"


def test_runs_of_earlier_versions_go_by_the_date_of_their_config(
    make: Callable[[str, str], RunFolder], home: Home
) -> None:
    make("done", "01-01").summary.write_text("{}")
    halted = make("halted", "01-02")
    halted.fingerprint.write_text("ab" * 32)
    make("nothing", "01-03")
    assert find_run(home, "latest").run_id == "done"
    home.shards("ab" * 32).mkdir(parents=True)
    (home.shards("ab" * 32) / "one.parquet").touch()
    assert find_run(home, "latest").run_id == "halted"


def test_where_nothing_was_scored_there_is_no_latest(
    thickets, make: Callable[[str, str], RunFolder], home: Home
) -> None:
    make("only", "01-01")
    message = refused(thickets("show", "latest", "--home", str(home.root)))
    assert message == f"RUN: nothing of any run in {home.root} was scored yet; runs here: only"


def test_the_table_has_date_and_state_and_json_the_same(
    thickets, make: Callable[[str, str], RunFolder], home: Home
) -> None:
    work(make("tiny-1", "03-04"), NO_ROOM, answers=False)
    status, out, _ = thickets("runs", "--home", str(home.root))
    assert status == 0
    for words in ("date", "K", "2025-03-04 ", "refused", "largest_number"):
        assert words in out
    [row] = json.loads(thickets("runs", "--home", str(home.root), "--json")[1])
    assert (row["state"], row["date"], row["k"]) == ("refused", "2025-03-04T12:00:00Z", None)


@pytest.mark.usefixtures("prefect_server")
def test_a_run_whose_engine_cannot_be_built_is_refused(config: MakeConfig, home: Home) -> None:
    seen: list[tuple[str, bool]] = []  # at every attempt

    def build(spec: EngineSpec) -> Engine:
        seen.extend((row.state, row.has_begun) for row in list_runs(home))
        raise NO_ROOM

    with pytest.raises(InputError, match="6 GiB are needed"):
        search(config(), build=build)
    [row] = list_runs(home)
    assert set(seen) == {("running", True)}
    assert (row.state, row.has_begun) == ("refused", False)
    written = home.run(row.run_id).config.stat().st_mtime_ns
    with pytest.raises(InputError, match="6 GiB are needed"):
        search(config(), build=build)
    assert home.run(row.run_id).config.stat().st_mtime_ns == written
