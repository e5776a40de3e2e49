"""A disk that fills up in the middle of a run: one line that says so, and nothing lost once there is room again."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.watched_engine import engine_that_tells
from thickets.flows.runtime.session import session
from thickets.flows.search.search import search
from thickets.storage.errors import RunError
from thickets.storage.shards.file import list_shards

pytestmark = pytest.mark.usefixtures("prefect_server")
_SIZE = "48m"  # of the disk; a home with an empty MLflow database takes a few


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"file systems cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        # Lazy: MLflow keeps connections to its database open for as long as this process lives.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return ballast


def test_any_library_s_error_of_a_full_disk_is_one_line(tmp_path: Path) -> None:
    told = r"^storage\.home: a disk is full .* run the same config again to go on"
    with pytest.raises(RunError, match=told), session(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="Permission"), session(tmp_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_run_goes_on_where_it_stopped(config, small_disk: Path, tmp_path: Path) -> None:
    home = small_disk / "home"
    sections = {"scoring": {"examples_per_block": 5, "candidates_per_shard": 1, "retries": 0}}
    limited = config(storage={"home": str(home)}, **sections)

    def fill_at_the_eighth(unit: int) -> None:
        if unit == 8:
            fill(small_disk)

    with pytest.raises(RunError, match=r"a disk is full .* make room and run the same config again"), session(home):
        search(limited, build=engine_that_tells(fill_at_the_eighth))
    (small_disk / "ballast").unlink()
    [folder] = (home / "shards").iterdir()
    finished = {shard.name: shard.stat().st_ino for shard in list_shards(folder)}
    assert 0 < len(finished) < 8
    assert os.statvfs(small_disk).f_bavail > 0

    again = search(limited)
    assert {name: (folder / name).stat().st_ino for name in finished} == finished
    undisturbed = search(config(storage={"home": str(tmp_path / "elsewhere")}, **sections))
    assert again.evaluation == undisturbed.evaluation
