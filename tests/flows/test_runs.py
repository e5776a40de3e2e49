"""What `thickets runs` says of each run, and which of them is the latest."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.flows.command_line import refused
from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.results.runs import find_run, list_runs, load_summary
from thickets.flows.results.summary import RunSummary
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


DAMAGES: dict[str, Callable[[RunFolder], object]] = {
    "no YAML": lambda folder: folder.config.write_text("model: [1, 2"),
    "no mapping": lambda folder: folder.config.write_text("- 1"),
    "a field is missing": lambda folder: folder.config.write_text("model: x\nproblem: {name: file}\n"),
    "a binary file": lambda folder: folder.config.write_bytes(b"\xff\xfe\x00"),
    "no config": lambda folder: folder.config.unlink(),
    "a folder in place of the config": lambda folder: (folder.config.unlink(), folder.config.mkdir()),
    "half a summary": lambda folder: folder.summary.write_text('{"run_id": "bro'),
    "no date": lambda folder: folder.begun.write_text("yesterday"),
    "no fingerprint": lambda folder: (folder.begun.unlink(), folder.fingerprint.write_text("../..")),
    "a name that no run has": lambda folder: folder.root.rename(folder.root.with_name("zz broken (copy)")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_run_is_listed_with_the_reason_and_disturbs_no_other(
    thickets, make: Callable[[str, str], RunFolder], home: Home, damage: Callable[[RunFolder], object]
) -> None:
    work(make("good", "01-01"), KeyboardInterrupt())
    broken = make("zz-broken", "01-02")
    broken.fingerprint.write_text("ab" * 32)
    work(broken, KeyboardInterrupt())
    damage(broken)
    (home.runs / ".notes").mkdir()
    (home.runs / "notes.txt").touch()
    home.run("bare").create().lock.touch()
    rows = {row.run_id: row for row in list_runs(home)}
    good, bad = rows.pop("good"), rows.popitem()[1]
    assert not rows
    assert (good.state, good.reason, bad.state) == ("interrupted", None, "damaged")
    assert bad.reason
    assert "\n" not in bad.reason
    assert find_run(home, "latest").run_id == "good"
    assert find_run(home, "goo").run_id == "good"
    status, out, told = thickets("runs", "--home", str(home.root))
    assert (status, "damaged" in out, f"{bad.run_id} is damaged: " in told) == (0, True, True)


def test_a_run_is_found_without_reading_the_others(make: Callable[[str, str], RunFolder], home: Home) -> None:
    make("one", "01-01")
    make("two", "01-02").config.write_text("{")
    assert find_run(home, "one").run_id == "one"
    assert find_run(home, "two").run_id == "two"
    with pytest.raises(InputError, match=r"^RUN: 'three' fits no run; runs here: two, one, or latest$"):
        find_run(home, "three")


def test_a_copy_makes_no_run_of_an_earlier_version_the_latest(
    make: Callable[[str, str], RunFolder], home: Home, tmp_path: Path
) -> None:
    make("old", "01-01").summary.write_text("{}")
    work(make("new", "01-02"), KeyboardInterrupt())
    shutil.copytree(home.root, tmp_path / "copy", copy_function=shutil.copyfile)  # which gives files the date of now
    later = datetime.now(UTC).timestamp() + 60
    os.utime(tmp_path / "copy" / "runs" / "old" / "config.yaml", (later, later))
    assert find_run(Home(tmp_path / "copy"), "latest").run_id == "new"


LOOK = """
import sys
from pathlib import Path
from thickets.flows.report import report_again
from thickets.flows.results.compare import compare
from thickets.flows.results.runs import find_run, list_runs, load_summary, open_scores
from thickets.storage.home import Home
home, out = Home(Path(sys.argv[1])), Path(sys.argv[2])
try:
    (home.root / "probe").touch()
except OSError:
    pass
else:
    sys.exit("the home can be written to")
assert [row.state for row in list_runs(home)] == ["completed", "completed"], list_runs(home)
folder = find_run(home, "latest")
summary = load_summary(folder)
assert summary.folder == folder.root.resolve()
with open_scores(home, folder) as reader:
    assert reader.query("select count(*) as n from completions")["n"].item() > 0
report_again(home, folder, out)
assert len(compare(home, [row.run_id for row in list_runs(home)]).runs) == 2
"""


def without_the_right_to_write_anywhere() -> None:
    """Take from root, in a process about to be replaced, the right to write where permissions deny it."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            os._exit(77)


@pytest.fixture
def read_only_home(finished: RunSummary, tmp_path: Path) -> Iterator[Path]:
    """The home of two finished runs, moved, in which nobody may write."""
    home = tmp_path / "colleague"
    finished.folder.parents[1].rename(home)
    shutil.copytree(home / "runs" / finished.run_id, home / "runs" / "another")
    for path in [home, *home.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield home
    for path in [home, *(path for path in home.rglob("*") if path.is_dir())]:
        path.chmod(0o755)


def test_who_only_looks_needs_no_permission_to_write(read_only_home: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in read_only_home.rglob("*")}
    looked = subprocess.run(
        [sys.executable, "-c", LOOK, str(read_only_home), str(tmp_path / "report.html")],
        check=False,
        preexec_fn=without_the_right_to_write_anywhere if os.geteuid() == 0 else None,
        capture_output=True,
        text=True,
    )
    if looked.returncode == 77:
        pytest.skip("this root cannot give up its rights")
    assert looked.returncode == 0, looked.stderr
    assert (tmp_path / "report.html").is_file()
    assert {path: path.stat().st_mtime_ns for path in read_only_home.rglob("*")} == before


def test_a_moved_home_shows_where_it_is_now(finished: RunSummary, tmp_path: Path) -> None:
    assert str(finished.folder.parents[1]) in finished.tracking.mlflow_address
    finished.folder.parents[1].rename(tmp_path / "moved")
    summary = load_summary(find_run(Home(tmp_path / "moved"), "latest"))
    assert summary.folder == tmp_path.resolve() / "moved" / "runs" / finished.run_id
    assert str(tmp_path / "moved" / "mlflow.db") in summary.tracking.mlflow_address
    assert str(finished.folder.parents[1]) not in summary.model_dump_json()


def test_a_run_that_came_without_its_shards_says_so(
    thickets, finished: RunSummary, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "theirs"
    shutil.copytree(finished.folder, home / "runs" / finished.run_id)
    with caplog.at_level(logging.WARNING):
        assert thickets("sql", "latest", "select 1 as one", "--home", str(home))[0] == 0
        assert "missing" not in caplog.text
        assert thickets("sql", "latest", "select count(*) from Completions", "--home", str(home))[0] == 0
    assert f"shards of run {finished.run_id} are not in {home / 'shards'}" in caplog.text


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
