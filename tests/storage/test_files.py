"""Files that appear whole: on file systems that cannot flush a folder, and on two disks."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from thickets.storage import files
from thickets.storage.files import move, new_folder, write_text_atomically
from thickets.storage.home import Home
from thickets.storage.shards.folder import LocalShardFolder

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`."""
    if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs two file systems")
    folder = Path(tempfile.mkdtemp(dir=SHARED_MEMORY))
    yield folder
    shutil.rmtree(folder)


def fill(folder: Path) -> dict[str, str]:
    """Make a small tree and return what is in it."""
    (folder / "inside").mkdir(parents=True)
    (folder / "one").write_text("1")
    (folder / "inside" / "two").write_text("2")
    (folder / "link").symlink_to("one")
    return tree(folder)


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EPERM])
def test_a_file_system_that_cannot_flush_folders_is_taken_as_it_is(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, flushed = os.fsync, []

    def of_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        flushed.append(descriptor)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    write_text_atomically(tmp_path / "file", "whole")
    with new_folder(tmp_path / "folder", "out") as folder:
        (folder / "one").write_text("1")
    assert (tmp_path / "file").read_text() == "whole"
    assert tree(tmp_path / "folder") == {"one": "1"}
    assert len(flushed) == 2


@pytest.mark.parametrize(("code", "of"), [(errno.EIO, stat.S_ISDIR), (errno.EINVAL, stat.S_ISREG)])
def test_a_failing_disk_is_an_error(code: int, of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        if of(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(code)):
        write_text_atomically(tmp_path / "file", "whole")


def test_a_folder_and_a_file_move_to_another_disk(tmp_path: Path, other_disk: Path) -> None:
    content = fill(tmp_path / "folder")
    move(tmp_path / "folder", other_disk / "new" / "folder")
    move(other_disk / "new" / "folder" / "one", tmp_path / "one")
    assert (tmp_path / "one").read_text() == "1"
    assert os.readlink(other_disk / "new" / "folder" / "link") == "one"
    assert tree(other_disk / "new" / "folder") == {"inside/two": content["inside/two"]}
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert [path.name for path in (other_disk / "new").iterdir()] == ["folder"]


def test_a_copy_that_differs_takes_nothing_away(
    tmp_path: Path, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = fill(tmp_path / "folder")
    monkeypatch.setattr(files, "_fsync_tree", lambda copy: (copy / "inside" / "two").write_text("3"))
    with pytest.raises(OSError, match="differs"):
        move(tmp_path / "folder", other_disk / "folder")
    assert tree(tmp_path / "folder") == content
    assert list(other_disk.iterdir()) == []


def test_starting_over_with_runs_on_another_disk_moves_everything(tmp_path: Path, other_disk: Path) -> None:
    (tmp_path / "runs").symlink_to(other_disk)
    home = Home(tmp_path)
    content = fill(home.run("r").root)
    [kept] = home.set_aside("r")
    assert tree(kept) == content
    assert tree(home.run("r").root) == {}


def test_starting_over_with_shards_linked_to_another_disk_keeps_the_link(tmp_path: Path, other_disk: Path) -> None:
    content = fill(other_disk / "big")
    (tmp_path / "shards").mkdir()
    linked = tmp_path / "shards" / "0123456789abcdef"
    linked.symlink_to(other_disk / "big")
    [kept] = LocalShardFolder(linked).set_aside(linked)
    assert Path(kept).parent == other_disk / "replaced"
    assert tree(Path(kept)) == content
    assert linked.is_symlink()
    assert list(linked.iterdir()) == []


def test_starting_over_with_replaced_on_another_disk_moves_everything(tmp_path: Path, other_disk: Path) -> None:
    folder = tmp_path / "shards" / "0123456789abcdef"
    content = fill(folder)
    (tmp_path / "shards" / "replaced").symlink_to(other_disk)
    [kept] = LocalShardFolder(folder).set_aside(folder)
    assert tree(Path(kept)) == content
    assert not folder.exists()


def test_what_was_set_aside_can_be_put_back(tmp_path: Path) -> None:
    home = Home(tmp_path)
    content = fill(home.run("r").create().root)
    (home.run("r").figures / "plot.png").write_text("a plot")
    kept = home.set_aside("r")
    home.put_back("r", kept)
    assert tree(home.run("r").root) == content | {"figures/plot.png": "a plot"}
    assert list((tmp_path / "replaced").iterdir()) == []


def test_a_failure_half_way_through_setting_aside_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    content = fill(home.run("r").root)
    real, moved = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        if "replaced" in str(target):
            moved.append(self)
            if len(moved) == 2:
                raise OSError(errno.EACCES, "planted")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="planted"):
        home.set_aside("r")
    assert tree(home.run("r").root) == content
