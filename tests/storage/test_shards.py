"""A shard exists whole or not at all, and a broken one never counts."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import polars as pl
import pytest

from tests.storage.storage_samples import completion_rows, verdict_rows
from thickets.storage.errors import RunError
from thickets.storage.shards.file import (
    SHARD_SCHEMA,
    VERDICT_SCHEMA,
    clean_temporaries,
    is_intact,
    is_readable,
    list_broken,
    list_shards,
    quarantine,
    read_whole,
    write_shard,
)

KILLED_BEFORE_RENAME = """
import os, signal, sys
from pathlib import Path
from tests.storage.storage_samples import completion_rows
from thickets.storage.shards.file import write_shard
folder = Path(sys.argv[1])
write_shard(folder, "whole", completion_rows(["base"], "selection", 0))
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
write_shard(folder, "torn", completion_rows(["base"], "selection", 1))
"""


def test_round_trip_keeps_schema_nulls_and_order(tmp_path):
    frame = verdict_rows(["base", "b", "a"], "selection", 1)
    assert frame["answer"].null_count()
    path = write_shard(tmp_path / "new", "0001@x", frame, VERDICT_SCHEMA)
    assert path.name == "0001@x.parquet"
    assert pl.read_parquet(path).equals(frame)
    assert list(path.parent.iterdir()) == [path]


def test_kill_before_the_rename_leaves_no_shard(tmp_path, python):
    process = python(KILLED_BEFORE_RENAME, tmp_path)
    process.communicate()
    assert process.returncode == -9
    assert [path.name for path in list_shards(tmp_path)] == ["whole.parquet"]
    assert len(list(tmp_path.iterdir())) == 2  # the temporary is there, and is no shard
    assert clean_temporaries(tmp_path) == []  # it may be another run's, in progress
    assert len(clean_temporaries(tmp_path, older_than_s=0)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["whole.parquet"]


def test_old_temporaries_are_cleaned_by_default(tmp_path):
    stray = tmp_path / ".x.parquet.1-ab.tmp"
    stray.write_bytes(b"")
    os.utime(stray, (time.time() - 7200,) * 2)
    assert clean_temporaries(tmp_path) == [stray]


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(OSError, match="disk full"):
        write_shard(tmp_path, "s", completion_rows(["base"], "selection", 0))
    assert list(tmp_path.iterdir()) == []


def test_absent_folder_has_no_shards(tmp_path):
    assert list_shards(tmp_path / "none") == []
    assert clean_temporaries(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.col("n_tokens").cast(pl.Int64), "n_tokens: Int64 instead of UInt32"),
        (pl.lit(None, pl.String).alias("split"), "null in split"),
        (pl.lit(1).alias("more"), "more: not a column"),
    ],
)
def test_wrong_frames_are_refused(tmp_path, change, message):
    with pytest.raises(RunError, match=message):
        write_shard(tmp_path, "s", completion_rows(["base"], "selection", 0).with_columns(change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shard_id", ["", "../x", "a/b", ".x"])
def test_shard_id_must_be_a_file_name(tmp_path, shard_id):
    with pytest.raises(RunError, match="cannot name a shard"):
        write_shard(tmp_path, shard_id, completion_rows(["base"], "selection", 0))


def test_truncated_shard_is_unreadable_and_quarantined(tmp_path, caplog):
    path = write_shard(tmp_path, "s", completion_rows(["base"], "selection", 0))
    assert is_readable(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert not is_readable(path)
    moved = quarantine(path)
    assert moved.name == "s.parquet.broken"
    assert list_shards(tmp_path) == []
    assert "s.parquet is unreadable" in caplog.text


def test_other_parquet_file_is_no_shard(tmp_path):
    path = tmp_path / "x.parquet"
    completion_rows(["base"], "selection", 0).select(list(SHARD_SCHEMA)[:3]).write_parquet(path)
    assert not is_readable(path)


def test_a_flipped_byte_is_noticed_wherever_it_is(tmp_path):
    frame = completion_rows(["base"], "selection", 0)
    path = write_shard(tmp_path, "s", frame)
    content = path.read_bytes()
    opened = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x01]) + content[place + 1 :])
        found = read_whole(path)
        assert found is None or found.equals(frame), place
        opened += found is not None
        assert is_intact(path) == (found is not None)
    assert opened == len("thickets.sha256"), "a flip in the checksum's name alone hides it, and changes no row"
    path.write_bytes(content)
    assert is_intact(path)
    assert read_whole(path).equals(frame)


def test_equal_frames_make_equal_files(tmp_path):
    frame = completion_rows(["base"], "selection", 0)
    one, other = (write_shard(tmp_path, name, frame) for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_files_without_a_checksum_are_read_as_before(tmp_path):
    frame = completion_rows(["base"], "selection", 0)
    path = tmp_path / "s.parquet"
    frame.write_parquet(path, compression="zstd")
    assert is_intact(path)
    assert read_whole(path).equals(frame)
    path.write_bytes(path.read_bytes()[:-20])
    assert not is_intact(path)
    assert read_whole(path) is None


def test_broken_shards_are_listed_until_they_are_written_again(tmp_path):
    frame = completion_rows(["base"], "selection", 0)
    assert list_broken(tmp_path / "none") == []
    for name in ("one", "other"):
        quarantine(write_shard(tmp_path, name, frame))
    write_shard(tmp_path, "other", frame)
    assert list_broken(tmp_path) == ["one"]
    quarantine(tmp_path / "one.parquet")  # another run of the same answers has done it
    assert list_broken(tmp_path) == ["one"]


def test_a_file_that_cannot_be_read_now_is_not_taken_for_damaged(tmp_path, monkeypatch):
    path = write_shard(tmp_path, "s", completion_rows(["base"], "selection", 0))

    def none_left(self):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Path, "read_bytes", none_left)
    for read in (read_whole, is_intact, is_readable):
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            read(path)
