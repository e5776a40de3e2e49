"""Deleting, cleaning up, naming, exporting and importing runs: on copies of one finished run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import zstandard
from filelock import FileLock

from tests.flows.command_line import Result, refused
from tests.flows.test_rescore import plan_of
from thickets.flows.config.file import load_config
from thickets.flows.config.run import RunConfig
from thickets.flows.housekeeping.clean import plan_cleaning
from thickets.flows.housekeeping.importing import _Limited
from thickets.flows.results.runs import find_run, list_runs, load_summary, open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.shards.file import list_shards
from thickets.storage.shards.uses import record_other_answers
from thickets.storage.tracking.store import mlflow_client
from thickets.tasks.aggregation import aggregate_scores
from thickets.tasks.seeds import POPULATION_SCHEMA

pytestmark = pytest.mark.usefixtures("prefect_server")

Thickets = Callable[..., Result]
OTHER = "ab" * 32


@pytest.fixture
def home(finished: RunSummary) -> Home:
    return Home(finished.folder.parents[1])


@pytest.fixture
def run(finished: RunSummary) -> RunFolder:
    return RunFolder(finished.folder)


@pytest.fixture
def shards(home: Home, finished: RunSummary) -> Path:
    return home.shards(finished.fingerprint)


def sibling(home: Home, run: RunFolder, name: str, judgement: object = None) -> RunFolder:
    """Another run on the same answers, judged as this one was or otherwise."""
    other = RunFolder(shutil.copytree(run.root, home.runs / name))
    if judgement is not None:
        other.judgement.write_text(json.dumps(judgement))
    return other


def files_of(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def tree(folder: Path) -> dict[str, str]:
    """Every file of a folder with the digest of its content: what differs can be read in a failure.

    A lock names the process that held it last: this one, or whichever of the test processes made the run.
    """
    return {name: "" if path.name == "run.lock" else digest(path) for name, path in files_of(folder).items()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def aged(path: Path, hours: float = 2) -> Path:
    then = time.time() - 3600 * hours
    for each in (path, *path.rglob("*")):
        os.utime(each, (then, then))
    return path


# Delete


def test_a_deleted_run_is_gone_with_its_shards_and_nothing_else(
    thickets: Thickets, home: Home, run: RunFolder, shards: Path
) -> None:
    before = tree(home.root)
    command = ("delete", "latest", "--home", str(home.root))
    status, out, err = thickets(*command, "--dry-run")
    assert status == 0
    assert (str(run.root) in out, str(shards) in out) == (True, True)
    assert tree(home.root) == before, "a dry run changes nothing"
    n_bytes = sum(path.stat().st_size for name, path in files_of(home.root).items() if not name.startswith("ml"))
    assert f"{n_bytes:,} bytes would go" in err
    assert f"thickets.run_id = {run.run_id}" in err

    assert thickets(*command)[0] == 0
    assert tree(home.root) == {path: content for path, content in before.items() if path.startswith("ml")}
    assert list_runs(home) == []


def test_shards_and_verdicts_that_another_run_uses_stay(
    thickets: Thickets, home: Home, run: RunFolder, shards: Path
) -> None:
    sibling(home, run, "same-00000000")
    before = tree(shards)
    status, _, err = thickets("delete", run.run_id, "--home", str(home.root))
    assert status == 0
    assert f"{shards}: used by same-00000000 too" in err
    assert tree(shards) == before
    assert [row.run_id for row in list_runs(home)] == ["same-00000000"]


def test_verdicts_of_the_deleted_run_alone_go(thickets: Thickets, home: Home, run: RunFolder, shards: Path) -> None:
    sibling(home, run, "other-00000000", {"judge": "another"})
    [verdicts] = shards.glob("verdicts-*")
    assert thickets("delete", run.run_id, "--home", str(home.root))[0] == 0
    assert list_shards(shards)
    assert not verdicts.exists()


def test_a_running_run_is_not_deleted(thickets: Thickets, home: Home, run: RunFolder) -> None:
    before = tree(run.root)
    with home.run_lock(run.run_id):
        for more in ((), ("--dry-run",)):
            status, out, err = thickets("delete", run.run_id, "--home", str(home.root), *more)
            assert (status, out) == (1, "")
            assert "in progress" in err
    assert tree(run.root) == before


def test_shards_stay_while_a_flow_may_use_them_that_has_no_run_yet(
    thickets: Thickets, home: Home, run: RunFolder, shards: Path
) -> None:
    lock = home.flow_run_lock("someone")
    lock.parent.mkdir(exist_ok=True)
    with FileLock(lock):
        assert "a flow is in progress" in thickets("delete", run.run_id, "--home", str(home.root))[2]
        assert list_shards(shards)
        assert plan_cleaning(home).items == ()
    assert [item.path for item in plan_cleaning(home).items] == [shards]


def test_nothing_is_deleted_if_nobody_can_tell_what_another_run_uses(
    thickets: Thickets, home: Home, run: RunFolder
) -> None:
    broken = sibling(home, run, "broken-00000000")
    broken.fingerprint.write_text("")
    before = tree(home.root)
    for command in (("delete", run.run_id), ("clean",)):
        assert "cannot tell which shards this run uses" in refused(thickets(*command, "--home", str(home.root)))
    assert tree(home.root) == before


# Clean


def test_cleaning_a_tidy_home_removes_nothing(thickets: Thickets, home: Home) -> None:
    before = tree(home.root)
    assert thickets("clean", "--home", str(home.root)) == (0, "", "there is nothing to remove\n")
    assert tree(home.root) == before


def test_what_no_run_needs_is_removed(thickets: Thickets, home: Home, run: RunFolder, shards: Path) -> None:
    before = tree(home.root)
    waste = [
        home.root / "replaced" / "run-1" / "config.yaml",
        shards.parent / "replaced" / "a" / "x.parquet",
        shards.parent / OTHER[:16] / "x.parquet",
        shards / "verdicts-0000000000000000" / "x.parquet",
        shards / "x.parquet.broken",
        shards / ".x.parquet.1-ab.tmp",
        run.root / ".summary.json.1-ab.tmp",
        run.root / "distillation" / "d" / ".student.1-ab.tmp" / "model.safetensors",
        home.runs / ".old.1-ab.tmp" / "config.yaml",
        home.root / ".import.1-ab.tmp" / "run" / "config.yaml",
    ]
    for path in waste:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    fresh = shards / ".y.parquet.1-ab.tmp"
    aged(home.root)
    fresh.write_bytes(b"being written")

    status, out, err = thickets("clean", "--home", str(home.root), "--dry-run")
    assert (status, len(out.splitlines())) == (0, len(waste))
    assert f"{5 * len(waste)} bytes would go" in err
    assert thickets("clean", "--home", str(home.root))[0] == 0
    assert tree(home.root) == before | {
        fresh.relative_to(home.root).as_posix(): hashlib.sha256(b"being written").hexdigest()
    }


def test_other_answers_that_a_run_has_recorded_are_kept(home: Home, run: RunFolder, shards: Path) -> None:
    for name in ("verdicts-" + "cd" * 8, "verdicts-" + "ef" * 8):
        folder = shards.parent / OTHER[:16] / name
        folder.mkdir(parents=True)
        (folder / "x.parquet").write_bytes(b"")
    record_other_answers(run, OTHER, "cd" * 32)
    record_other_answers(run, OTHER, "cd" * 32)
    assert run.other_answers.read_text().count("\n") == 1
    assert [item.path.name for item in plan_cleaning(home).items] == ["verdicts-" + "ef" * 8]


def test_what_a_running_run_uses_is_left_alone(home: Home, run: RunFolder, shards: Path) -> None:
    for path in (shards / "x.parquet.broken", shards / ".x.tmp", run.root / ".y.tmp", shards / "verdicts-0" / "z"):
        path.parent.mkdir(exist_ok=True)
        aged(Path(shutil.copy(run.config, path)))
    assert len(plan_cleaning(home).items) == 4
    with home.run_lock(run.run_id):
        removal = plan_cleaning(home)
    assert removal.items == ()
    assert removal.stays == (f"{run.run_id} and its shards: in progress",)


# Rename


def test_a_run_goes_by_its_name_and_keeps_its_id(thickets: Thickets, home: Home, run: RunFolder) -> None:
    where = ("--home", str(home.root))
    assert thickets("rename", "latest", "mine", *where)[0] == 0
    assert find_run(home, "mine") == find_run(home, run.run_id) == run
    assert f"mine ({run.run_id})" in thickets("runs", *where)[1]
    assert json.loads(thickets("runs", "--json", *where)[1])[0]["called"] == "mine"
    sibling(home, run, "other-00000000").called.unlink()
    for name in ("mine", run.run_id[:6], "latest", "a/b", "", ".x"):
        assert refused(thickets("rename", "other-00000000", name, *where)).startswith("NAME: ")
    assert thickets("rename", "mine", run.run_id, *where)[0] == 0
    assert not run.called.exists()


# Export and import


@pytest.fixture
def packed(thickets: Thickets, home: Home, run: RunFolder, tmp_path: Path) -> Path:
    target = tmp_path / "run.tar.zst"
    status, out, _ = thickets("export", run.run_id, str(target), "--home", str(home.root))
    assert (status, out) == (0, f"{target}\n")
    return target


def test_an_imported_run_is_whole_and_goes_on_without_generating(
    thickets: Thickets, home: Home, run: RunFolder, shards: Path, packed: Path, tmp_path: Path, finished: RunSummary
) -> None:
    names = tree(run.root).keys() - {"run.lock", "started-in"}
    answers, n_completions = tree(shards), sum(pl.read_parquet(path).height for path in list_shards(shards))
    there = Home(tmp_path / "there")
    shutil.move(home.root, tmp_path / "gone")
    status, out, err = thickets("import", str(packed), "--home", str(there.root))
    assert (status, out) == (0, f"{run.run_id}\n")
    folder = find_run(there, "latest")
    assert f"thickets run {folder.config}`" in err
    assert tree(folder.root).keys() - {"run.lock"} == names
    assert tree(there.shards(finished.fingerprint)) == answers

    config = load_config(str(folder.config))
    assert config.storage.home == there.root
    plan = plan_of(config)
    assert (plan.run_id, plan.fingerprint, plan.verdicts) == (
        run.run_id,
        finished.fingerprint,
        plan_of(load_config(str(tmp_path / "gone" / "runs" / run.run_id / "config.yaml"))).verdicts,
    )
    shown = json.loads(thickets("show", "latest", "--json", "--home", str(there.root))[1])
    before = json.loads(finished.model_dump_json())
    links = {
        "mlflow_uri": f"sqlite:///{there.mlflow_db}",
        "mlflow_address": f"not in this home's MLflow; to log it: thickets log {run.run_id}",
    }
    assert shown == before | {"folder": str(folder.root), "tracking": before["tracking"] | links}
    with open_scores(there, folder) as reader:
        known = reader.query("SELECT DISTINCT candidate_id, split, block FROM scores")
        assert reader.query("SELECT count(*) FROM completions").item() == n_completions
    # From the shards alone, as a run does that begins: every answer is there.
    candidates = pl.read_parquet(folder.candidates).filter(pl.col("candidate_id") != "base").cast(POPULATION_SCHEMA)
    book = plan.book(tmp_path / "again.duckdb", plan.run_id, candidates)
    assert set(aggregate_scores(book).rows()) == set(known.rows())


def test_an_imported_run_is_logged_in_its_own_home_and_leaves_the_other_alone(
    thickets: Thickets, run: RunFolder, packed: Path, tmp_path: Path, finished: RunSummary
) -> None:
    def logged(uri: str) -> list[tuple[str, int]]:
        client = mlflow_client(uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return sorted(
            (each.info.run_id, each.info.end_time) for each in client.search_runs(experiments, max_results=100)
        )

    there = Home(tmp_path / "there")
    original = logged(finished.tracking.mlflow_uri)
    assert thickets("import", str(packed), "--home", str(there.root))[0] == 0
    assert f"log it first: thickets log {run.run_id}" in refused(
        thickets("promote", run.run_id, "--home", str(there.root))
    )
    assert thickets("log", run.run_id, "--home", str(there.root))[0] == 0
    assert logged(finished.tracking.mlflow_uri) == original
    links = load_summary(there.run(run.run_id)).tracking
    assert links.mlflow_uri == f"sqlite:///{there.mlflow_db}"
    assert links.mlflow_run_id in dict(logged(links.mlflow_uri))
    assert not there.run(run.run_id).unlogged.exists()


def test_an_export_names_no_folder_of_its_home(thickets: Thickets, run: RunFolder, home: Home, tmp_path: Path) -> None:
    run.unlogged.write_text(f"sqlite:///{home.mlflow_db}\n")
    packed = tmp_path / "run.tar.zst"
    assert thickets("export", run.run_id, str(packed), "--home", str(home.root))[0] == 0
    with zstandard.open(packed) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        names = {member.name: tar.extractfile(member).read() for member in tar if member.isreg()}  # type: ignore[union-attr]
    assert {"run/config.yaml", "run/scores.duckdb", "run/report.html", "run/manifest.json"} <= names.keys()
    for name in ("config.yaml", "summary.json", "tracking.json", "unlogged"):
        assert str(home.root).encode() not in names[f"run/{name}"], name
    assert [name for name in names if name.startswith("/") or ".." in name] == []


def test_what_is_there_is_not_replaced(thickets: Thickets, home: Home, packed: Path, run: RunFolder) -> None:
    before = tree(home.root)
    assert "is in" in refused(thickets("import", str(packed), "--home", str(home.root)))
    assert "exists" in refused(thickets("export", run.run_id, str(packed), "--home", str(home.root)))
    assert tree(home.root) == before


def test_shards_with_other_answers_are_not_mixed(
    thickets: Thickets, home: Home, packed: Path, run: RunFolder, shards: Path
) -> None:
    shutil.rmtree(run.root)
    first = list_shards(shards)[0]
    whole = first.read_bytes()
    first.write_bytes(b"other")
    assert "with other answers" in refused(thickets("import", str(packed), "--home", str(home.root)))
    assert not run.root.exists()
    first.write_bytes(whole)
    assert thickets("import", str(packed), "--home", str(home.root))[0] == 0


def repacked(source: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> Path:
    """An archive whose members somebody has changed."""
    with zstandard.open(source) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    change(members)
    target = source.with_name("changed.tar.zst")
    with zstandard.open(target, "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return target


def _entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 1, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, size, link
    return entry


def _announce(members: list[tuple[tarfile.TarInfo, bytes]], path: str) -> None:
    head, content = members[0]
    said = json.loads(content)
    said["files"].append({"path": path, "size": 1, "sha256": "ab" * 32})
    members[0] = (_entry(head.name, size=len(content := json.dumps(said).encode())), content)
    members.append((_entry(path), b"x"))


def _flip(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    member, content = members[-1]
    members[-1] = (member, content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_flip, "has another checksum"),
        (lambda members: members.pop(), "is cut off"),
        (lambda members: members.pop(0), "is no exported run"),
        (lambda members: members.append((_entry("run/more"), b"x")), "not what it says"),
        (lambda members: members.append(members[-1]), "not what it says"),
        (lambda members: members.append((_entry("run/l", tarfile.SYMTYPE, 0, "/etc"), b"")), "not what it says"),
        *((lambda members, path=path: _announce(members, path), "is no place in a run") for path in (
            "/etc/passwd", "../up", "run/../../up", "run//x", "run/shards", "run/run.lock", "other/x", "run/a\\b",
            "shards/../x.parquet", "shards/abc/x.parquet", "shards/0123456789abcdef/x/y.parquet", "run/a\nb",
        )),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_says_is_refused_whole(
    thickets: Thickets, packed: Path, tmp_path: Path, change: Callable[..., None], message: str
) -> None:
    there = tmp_path / "there"
    assert message in refused(thickets("import", str(repacked(packed, change)), "--home", str(there)))
    assert list(there.rglob("*")) == []


def test_damaged_and_foreign_files_are_refused(thickets: Thickets, packed: Path, tmp_path: Path) -> None:
    whole, bad = packed.read_bytes(), tmp_path / "bad.tar.zst"
    for content in (b"", b"no archive at all", whole[:-1000], whole[:200], zstandard.compress(b"no tar")):
        bad.write_bytes(content)
        assert refused(thickets("import", str(bad), "--home", str(tmp_path / "there"))).startswith(f"FILE: {bad}")
    assert "cannot read" in refused(thickets("import", "nowhere.tar.zst", "--home", str(tmp_path / "there")))
    assert list((tmp_path / "there").rglob("*")) == []


def test_no_more_is_unpacked_than_was_said() -> None:
    stream = _Limited(io.BytesIO(bytes(100)), 60, Path("f"))
    assert len(stream.read(50)) == 50
    with pytest.raises(InputError, match="unpacks to more than it says"):
        stream.read(1 << 40)


# SQL into a file


def test_sql_writes_every_row_to_a_file(thickets: Thickets, home: Home, tmp_path: Path) -> None:
    query = "select split, example_id, candidate_id, correct, completion from completions order by all"
    expected = json.loads(thickets("sql", "latest", query, "--json", "--home", str(home.root))[1])
    for name, read in (("out.parquet", pl.read_parquet), ("out.csv", pl.read_csv)):
        target = tmp_path / name
        status, out, err = thickets("sql", "latest", query, "--out", str(target), "--home", str(home.root))
        assert (status, out) == (0, "")
        assert f"{len(expected):,} rows in {target}" in err
        assert read(target).select("example_id", "correct").to_dicts() == [
            {key: row[key] for key in ("example_id", "correct")} for row in expected
        ]
    assert pl.read_parquet(tmp_path / "out.parquet").to_dicts() == expected


def test_a_long_result_is_cut_and_says_so(thickets: Thickets, home: Home, tmp_path: Path) -> None:
    where = ("--home", str(home.root))
    status, out, err = thickets("sql", "latest", "select range as n from range(100000)", *where)
    assert status == 0
    assert "the first 1,000 rows" in err
    assert (" 999 " in out, " 1000 " in out) == (True, False)
    assert len(json.loads(thickets("sql", "latest", "from range(25000)", "--json", *where)[1])) == 25000
    assert thickets("sql", "latest", "from range(0)", "--json", *where)[1] == "[]\n"
    assert "the first" not in thickets("sql", "latest", "from range(1000)", *where)[2]


def test_what_cannot_be_written_is_one_line_and_leaves_no_file(thickets: Thickets, home: Home, tmp_path: Path) -> None:
    def message(query: str, name: str) -> str:
        return refused(thickets("sql", "latest", query, "--out", str(tmp_path / name), "--home", str(home.root)))

    assert ".parquet or .csv" in message("select 1", "out.xlsx")
    assert "cannot write" in message("select [1, 2] as l", "out.csv")
    assert message("select * from nowhere", "out.csv").startswith("SQL: ")
    late = "select case when range > 50000 then error('planted') else 1 end from range(90000)"
    assert message(late, "out.csv") == message(late, "out.parquet") == "SQL: Invalid Input Error: planted"
    (tmp_path / "file").touch()
    assert message("select 1", "file/out.csv").startswith("--out: cannot write")
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_an_estimate_counts_what_a_small_run_leaves(
    thickets: Thickets, home: Home, config: Callable[..., RunConfig], my_yaml: Callable[..., str], tmp_path: Path
) -> None:
    left = sum(path.stat().st_size for path in files_of(home.root).values())
    elsewhere = my_yaml(storage={"home": str(tmp_path / "new")})
    said = json.loads(thickets("estimate", elsewhere, "--json")[1])["disk_bytes"]
    assert 0.5 < said / left < 2
