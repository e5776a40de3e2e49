"""Shards in folders, behind fsspec, and in an S3 bucket: whole or not at all, and found again here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from tests.patience import no_hang, wait_for
from tests.s3_server import s3_bucket
from tests.storage.storage_samples import VERDICTS, verdict_rows, verdicts_in
from thickets.storage.errors import InputError, RunError
from thickets.storage.home import Home
from thickets.storage.shards.file import SHARD_SCHEMA, decode, list_shards
from thickets.storage.shards.folder import RemoteShardFolder, check_writable, is_url, open_shard_folder, shard_location

ROOT = Path(__file__).parents[2]
FINGERPRINT = "0123456789abcdef" * 4


def frame(who: str = "base", n: int = 4) -> pl.DataFrame:
    rows = [(who, "selection", 0, f"e{i}", 3, "stop", f"It is {i}.") for i in range(n)]
    return pl.DataFrame(rows, schema=SHARD_SCHEMA, orient="row")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """URL of a folder in a bucket."""
    with s3_bucket() as url:
        yield url


@pytest.fixture(params=["folder", "memory", "sftp-like", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place for shards, of each kind: written in place, by rename, and by one request."""
    match request.param:
        case "folder":
            return str(tmp_path / "shared")
        case "memory":
            return f"memory://{tmp_path.name}/shared"
        case "sftp-like":  # real files and real renames behind fsspec
            from fsspec.implementations.local import LocalFileSystem

            fsspec.register_implementation("files", LocalFileSystem, clobber=True)
            monkeypatch.setattr(LocalFileSystem, "protocol", ("file", "local", "files"))
            return f"files://{tmp_path}/shared"
        case _:
            return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


def location(root: str, tmp_path: Path) -> str:
    return shard_location(Home(tmp_path / "home"), FINGERPRINT, root)


def test_a_shard_is_held_once_written_and_comes_back_as_it_was(root: str, tmp_path: Path) -> None:
    check_writable(root)
    folder = open_shard_folder(location(root, tmp_path))
    assert not folder.holds("one")
    folder.write("one", frame())
    folder.write("one", frame())  # another attempt
    other_machine = open_shard_folder(folder.location)
    assert other_machine.holds("one")
    assert not other_machine.holds("two")
    local = tmp_path / "local" if is_url(root) else Path(folder.location)
    for _ in range(2):
        folder.mirror(local)
        [path] = list_shards(local)
        assert pl.read_parquet(path).equals(frame())


def test_verdicts_are_kept_in_the_folder_of_their_shards(root: str, tmp_path: Path) -> None:
    folder = open_shard_folder(location(root, tmp_path))
    local = tmp_path / "copies" / "local" if is_url(root) else Path(folder.location)
    verdicts, copies = folder.verdicts(VERDICTS), verdicts_in(local)
    assert verdicts.read("one") is None
    folder.write("one", frame())
    rows = verdict_rows(["base"], "selection", 0)
    verdicts.write("one", rows)
    with pytest.raises(RunError, match="score: absent"):
        verdicts.write("one", frame())
    again = open_shard_folder(folder.location).verdicts(VERDICTS).read("one")
    assert again is not None
    assert again.equals(rows)
    folder.mirror(local)
    verdicts.mirror(copies)
    assert [path.name for path in (*list_shards(local), *list_shards(copies))] == ["one.parquet"] * 2
    kept = folder.set_aside(local)
    assert len(kept) == (2 if is_url(root) else 1)
    assert not verdicts.holds("one")
    assert not list_shards(copies)
    assert all(open_shard_folder(each).verdicts(VERDICTS).holds("one") for each in kept)


def test_only_what_is_missing_is_copied(root: str, tmp_path: Path) -> None:
    if not is_url(root):
        pytest.skip("nothing is copied")
    folder, local = open_shard_folder(location(root, tmp_path)), tmp_path / "local"
    folder.write("one", frame())
    folder.mirror(local)
    before = (local / "one.parquet").stat()
    folder.write("two", frame("other"))
    folder.mirror(local)
    after = (local / "one.parquet").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert [path.name for path in list_shards(local)] == ["one.parquet", "two.parquet"]


def test_shards_of_a_bucket_are_fetched_side_by_side(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_shard_folder(f"{s3}/{tmp_path.name}")
    assert isinstance(folder, RemoteShardFolder)
    for n in range(70):
        folder.write(f"s{n}", frame(f"c{n}"))
    filesystem, under_way, most = type(folder._fs), [0], [0]
    fetch_one = filesystem._cat_file

    async def counted(*args: Any, **options: Any) -> bytes:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        try:
            return bytes(await fetch_one(*args, **options))
        finally:
            under_way[0] -= 1

    monkeypatch.setattr(filesystem, "_cat_file", counted)
    folder.mirror(tmp_path / "local")
    assert 8 < most[0] <= 64
    found = {path.stem: pl.read_parquet(path) for path in list_shards(tmp_path / "local")}
    assert len(found) == 70
    assert all(rows.equals(frame(f"c{name[1:]}")) for name, rows in found.items())


def test_a_shard_that_is_moved_away_while_others_are_copied_is_left_out(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_url(root):
        pytest.skip("nothing is copied")
    # As a pattern "run[1]" names another folder. Where writing takes a rename, fsspec itself stumbles over it.
    for name in ("run1", *(["run[1]"] if root.startswith("s3:") else [])):
        folder = open_shard_folder(f"{root}/{name}")
        assert isinstance(folder, RemoteShardFolder)
        folder.write("two", frame(name))
        assert folder._names() == ["two.parquet"]
        monkeypatch.setattr(folder, "_names", lambda: ["gone.parquet", "two.parquet"])
        folder.mirror(tmp_path / name)
        [path] = list_shards(tmp_path / name)
        copied = decode(path.read_bytes())
        assert copied is not None
        assert copied.equals(frame(name))


def test_set_aside_deletes_nothing(root: str, tmp_path: Path) -> None:
    folder = open_shard_folder(location(root, tmp_path))
    local = tmp_path / "copies" / "local" if is_url(root) else Path(folder.location)
    assert folder.set_aside(local) == []
    folder.write("one", frame())
    folder.mirror(local)
    kept = folder.set_aside(local)
    assert len(kept) == (2 if is_url(root) else 1)
    assert "/replaced/0123456789abcdef-" in kept[0]
    assert not folder.holds("one")
    assert not list_shards(local)
    assert all(open_shard_folder(each).holds("one") for each in kept)
    folder.write("one", frame())
    assert not {*kept} & {*folder.set_aside(local)}


def test_what_is_no_shard_is_not_written(root: str, tmp_path: Path) -> None:
    folder = open_shard_folder(location(root, tmp_path))
    with pytest.raises(RunError, match="cannot name a shard"):
        folder.write("../one", frame())
    with pytest.raises(RunError, match="completion: absent"):
        folder.write("one", frame().drop("completion"))
    assert not folder.holds("one")


def test_an_unreadable_shard_counts_as_not_written(root: str, tmp_path: Path) -> None:
    if not is_url(root):
        pytest.skip("the database finds it")
    folder, local = open_shard_folder(location(root, tmp_path)), tmp_path / "local"
    assert isinstance(folder, RemoteShardFolder)
    folder.put("one.parquet", b"PAR1 but no more")
    folder.mirror(local)
    assert list_shards(local) == []
    assert not folder.holds("one")
    folder.write("one", frame())
    folder.mirror(local)
    assert [path.name for path in list_shards(local)] == ["one.parquet"]


def test_a_flipped_byte_counts_as_not_written(root: str, tmp_path: Path) -> None:
    folder = open_shard_folder(location(root, tmp_path))
    local = tmp_path / "local" if is_url(root) else Path(folder.location)
    folder.write("one", frame())
    folder.mirror(local)
    whole = (local / "one.parquet").read_bytes()
    damaged = whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]
    for copied in (True, False):
        if isinstance(folder, RemoteShardFolder):
            folder.put("one.parquet", damaged)
        else:
            (local / "one.parquet").write_bytes(damaged)
        if copied and is_url(root):
            (local / "one.parquet").unlink()
            folder.mirror(local)
            assert list_shards(local) == []
        assert folder.read("one") is None
        assert not folder.holds("one")


@pytest.mark.parametrize("scheme", ["files", "memory"])
def test_a_kill_between_writing_and_renaming_leaves_no_shard(scheme: str, tmp_path: Path) -> None:
    filesystem = fsspec.filesystem({"files": "local"}.get(scheme, scheme))
    path = str(tmp_path / "shards")
    folder = RemoteShardFolder(filesystem, path, f"{scheme}://{path}", puts_are_atomic=False)

    class KilledError(BaseException):
        pass

    def kill(*args: Any, **kwargs: Any) -> None:
        raise KilledError

    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(filesystem, "mv", kill)
        with pytest.raises(KilledError):
            folder.write("one", frame())
    names = [entry.rpartition("/")[2] for entry in filesystem.ls(path, detail=False)]
    assert [(name[:13], name[-4:]) for name in names] == [(".one.parquet.", ".tmp")], "the test killed nothing"
    assert not folder.holds("one")
    folder.mirror(tmp_path / "local")
    assert list_shards(tmp_path / "local") == []
    folder.clean_temporaries()
    assert len(filesystem.ls(path, detail=False)) == 1, "a young one may be somebody's who is writing it"
    time.sleep(0.01)
    folder.clean_temporaries(older_than_s=0.0)
    assert filesystem.ls(path, detail=False) == []


def test_a_killed_writer_leaves_whole_objects_in_a_bucket(s3: str, tmp_path: Path) -> None:
    url = f"{s3}/killed"
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from tests.storage.test_shard_folder import frame\n"
        "from thickets.storage.shards.folder import open_shard_folder\n"
        "folder = open_shard_folder(sys.argv[1])\n"
        "for i in range(10**6): folder.write(f's{i}', frame(f'c{i}', 2000))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, url, str(ROOT)], env=dict(os.environ))
    folder = open_shard_folder(url)
    try:
        wait_for(lambda: folder.holds("s5"), every_s=0.01)
    finally:
        process.kill()
        process.wait()
    folder.mirror(tmp_path)
    found = list_shards(tmp_path)
    assert len(found) >= 6
    assert all(pl.read_parquet(path).height == 2000 for path in found)


def test_where_shards_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = Home(Path("home"))
    where = {root: shard_location(home, FINGERPRINT, root) for root in (None, "nfs", "file:///nfs", "s3://bucket/a/")}
    assert where == {
        None: f"{tmp_path}/home/shards/0123456789abcdef",
        "nfs": f"{tmp_path}/nfs/0123456789abcdef",
        "file:///nfs": "/nfs/0123456789abcdef",
        "s3://bucket/a/": "s3://bucket/a/0123456789abcdef",
    }


def test_a_place_that_cannot_be_used_is_one_error(s3: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bad = {
        "nosuch://bucket/x": "give a folder, or a URL that fsspec knows",
        "s3://no-such-bucket/x": "cannot write to s3://no-such-bucket/x: .*bucket",
        f"{tmp_path}/file": "cannot write to .*/file: ",
        "az://container/x": "package that is not installed: Install adlfs",
    }
    for where, message in bad.items():
        with pytest.raises(InputError, match=rf"(?s)^storage\.shards: .*{message}") as raised:
            check_writable(where)
        assert "\n" not in str(raised.value)


def test_a_server_that_does_not_answer_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    fsspec.filesystem("s3").clear_instance_cache()
    with no_hang(), pytest.raises(InputError, match=r"^storage\.shards: cannot write to s3://bucket/x: "):
        check_writable("s3://bucket/x")
    fsspec.filesystem("s3").clear_instance_cache()
