"""Score shards: one Parquet file per block of candidates on a block of examples, the durable unit of a run."""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path

import polars as pl

from thickets.storage.errors import RunError
from thickets.storage.files import TEMPORARY_SUFFIX, atomic_path

log = logging.getLogger(__name__)

SUFFIX = ".parquet"
BROKEN_SUFFIX = ".broken"
_SHARD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,199}")

SHARD_SCHEMA = pl.Schema(
    {
        "candidate_id": pl.String,
        "split": pl.String,
        "block": pl.UInt32,
        "example_id": pl.String,
        "correct": pl.Boolean,
        "answer": pl.String,  # the vote key; null is an abstention
        "n_tokens": pl.UInt32,
        "finish_reason": pl.String,
        "completion": pl.String,
    }
)
"""Columns of a shard, one row per (candidate, example). Only ``answer`` may be null."""


def write_shard(folder: Path, shard_id: str, frame: pl.DataFrame) -> Path:
    """Write one shard so that it exists whole or not at all, and return its path.

    Args:
        folder: The fingerprint's shard folder; created if absent.
        shard_id: File name without the suffix. Writing the same id again replaces the file.
        frame: Rows with the columns of ``SHARD_SCHEMA``, in that order.

    Raises:
        RunError: If the columns, their types, or a null do not fit ``SHARD_SCHEMA``, or the id is no file name.
    """
    check_shard(shard_id, frame)
    target = folder / f"{shard_id}{SUFFIX}"
    with atomic_path(target) as temporary:
        frame.write_parquet(temporary, compression="zstd")
    return target


def list_shards(folder: Path) -> list[Path]:
    """Return the finished shards of a folder by name; temporaries and quarantined files are left out."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))


def clean_temporaries(folder: Path, older_than_s: float = 3600.0) -> list[Path]:
    """Delete the temporary files of killed writers, and return their paths.

    Args:
        folder: The fingerprint's shard folder; may be absent.
        older_than_s: Seconds; younger files stay, because another run may be writing them.
    """
    removed = []
    newest = time.time() - older_than_s
    for path in sorted(folder.glob(f".*{TEMPORARY_SUFFIX}")):
        try:
            if path.stat().st_mtime <= newest:
                path.unlink()
                removed.append(path)
        except FileNotFoundError:
            continue  # its writer has just finished, or another run cleans too
    return removed


def is_readable(path: Path) -> bool:
    """Return whether every column of a shard can be decoded and fits ``SHARD_SCHEMA``; reads the whole file."""
    try:
        # hive_partitioning is off: a home such as "/data/split=x/" must not grow columns.
        return pl.read_parquet(path, hive_partitioning=False).schema == SHARD_SCHEMA
    except (pl.exceptions.PolarsError, OSError):
        return False


def quarantine(path: Path) -> Path:
    """Rename an unreadable shard to ``*.broken``, with a warning, so that its units are scored again."""
    target = path.with_name(path.name + BROKEN_SUFFIX)
    os.replace(path, target)
    log.warning("shard %s is unreadable; renamed to %s, its units will be scored again", path.name, target.name)
    return target


def check_shard(shard_id: str, frame: pl.DataFrame) -> None:
    """Check that a frame and an id can be written as a shard.

    Raises:
        RunError: If the columns, their types, or a null do not fit ``SHARD_SCHEMA``, or the id is no file name.
    """
    if not _SHARD_ID.fullmatch(shard_id):
        raise RunError(f"{shard_id!r} cannot name a shard; use letters, digits, '.', '_', '@' and '-'")
    if frame.schema != SHARD_SCHEMA:
        wrong = [
            f"{name}: {frame.schema.get(name, 'absent')} instead of {dtype}"
            for name, dtype in SHARD_SCHEMA.items()
            if frame.schema.get(name) != dtype
        ]
        wrong += [f"{name}: not a column of a shard" for name in frame.columns if name not in SHARD_SCHEMA]
        raise RunError(f"shard {shard_id}: {'; '.join(wrong) or f'columns out of order: {frame.columns}'}")
    nulls = [name for name in SHARD_SCHEMA if name != "answer" and frame[name].null_count()]
    if nulls:
        raise RunError(f"shard {shard_id}: null in {', '.join(nulls)}; only 'answer' may be null")
