"""Shards: one Parquet file of completions per block of candidates on a block of examples, the durable unit of a run.

The verdicts on them lie in a folder inside theirs, one per judgement, in files of the same names. They are made from
the completions and can be made again.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import time
from pathlib import Path

import polars as pl

from thickets.storage.errors import RunError
from thickets.storage.files import TEMPORARY_SUFFIX, atomic_path
from thickets.storage.shards.checksum import fits_checksum, parquet_with_checksum

log = logging.getLogger(__name__)

SUFFIX = ".parquet"
BROKEN_SUFFIX = ".broken"
_MAGIC = b"PAR1"
_SHARD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,199}")
SHARD_NAME = re.compile(_SHARD_ID.pattern + re.escape(SUFFIX))
"""Names of the files of completions or verdicts."""

SHARD_SCHEMA = pl.Schema(
    {
        "candidate_id": pl.String,
        "split": pl.String,
        "block": pl.UInt32,
        "example_id": pl.String,
        "n_tokens": pl.UInt32,
        "finish_reason": pl.String,
        "completion": pl.String,
    }
)
"""Columns of a shard, one row per (candidate, example). None may be null."""

VERDICT_SCHEMA = pl.Schema(
    {
        "candidate_id": pl.String,
        "split": pl.String,
        "block": pl.UInt32,
        "example_id": pl.String,
        "score": pl.UInt16,  # thousandths
        "correct": pl.Boolean,
        "answer": pl.String,  # the vote key; null is an abstention
        "n_tokens": pl.UInt32,
        "finish_reason": pl.String,
    }
)
"""Columns of the verdicts on a shard, one row per row of it. Only ``answer`` may be null."""


def verdicts_name(judgement: str) -> str:
    """Return the name of the folder, inside a shard folder, of the verdicts of a judgement.

    Args:
        judgement: Fingerprint of everything that changes a verdict.
    """
    return f"verdicts-{judgement[:16]}"


def write_shard(folder: Path, shard_id: str, frame: pl.DataFrame, schema: pl.Schema = SHARD_SCHEMA) -> Path:
    """Write one file of completions or verdicts so that it exists whole or not at all, and return its path.

    Args:
        folder: The fingerprint's shard folder, or the judgement's folder in it; created if absent.
        shard_id: File name without the suffix. Writing the same id again replaces the file.
        frame: Rows with the columns of `schema`, in that order.
        schema: ``SHARD_SCHEMA`` or ``VERDICT_SCHEMA``.

    Raises:
        RunError: If the columns, their types, or a null do not fit `schema`, or the id is no file name.
    """
    check_shard(shard_id, frame, schema)
    target = folder / f"{shard_id}{SUFFIX}"
    with atomic_path(target) as temporary:
        temporary.write_bytes(parquet_with_checksum(frame))
    return target


def list_shards(folder: Path) -> list[Path]:
    """Return the finished shards of a folder by name; temporaries and quarantined files are left out."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))


def list_broken(folder: Path) -> list[str]:
    """Return the ids of the shards of a folder that were quarantined and are not written again yet."""
    if not folder.is_dir():
        return []
    names = {path.name for path in folder.iterdir()}
    broken = (name.removesuffix(BROKEN_SUFFIX) for name in names if name.endswith(SUFFIX + BROKEN_SUFFIX))
    return sorted(name.removesuffix(SUFFIX) for name in broken if name not in names)


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


def read_whole(path: Path, schema: pl.Schema = SHARD_SCHEMA) -> pl.DataFrame | None:
    """Read a file of completions or verdicts; None if it is absent, damaged or does not fit the schema.

    Raises:
        OSError: It cannot be read now, for another reason than damage.
    """
    content = _read(path)
    return None if content is None else decode(content, schema)


def decode(content: bytes, schema: pl.Schema = SHARD_SCHEMA) -> pl.DataFrame | None:
    """Read the bytes of a file of completions or verdicts; None if they are damaged or do not fit the schema."""
    if not fits_checksum(content):
        return None
    try:
        # hive_partitioning is off: a home such as "/data/split=x/" must not grow columns.
        frame = pl.read_parquet(io.BytesIO(content), hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException):
        return None
    return frame if frame.schema == schema else None


def is_readable(path: Path, schema: pl.Schema = SHARD_SCHEMA) -> bool:
    """Return whether a file is undamaged and every column of it can be decoded and fits the schema."""
    return read_whole(path, schema) is not None


def is_intact(path: Path) -> bool:
    """Return whether a file's bytes are those that were written; reads them all and decodes nothing.

    Raises:
        OSError: It cannot be read now, for another reason than damage.
    """
    content = _read(path)
    # The magic bytes tell that a file without a checksum, as older versions wrote, was not cut off.
    return content is not None and content.endswith(_MAGIC) and fits_checksum(content)


def quarantine(path: Path) -> Path:
    """Rename a damaged file to ``*.broken``, with a warning, so that its units are scored or judged again.

    Nothing happens if it is not there: another run of the same answers has found it too.
    """
    target = path.with_name(path.name + BROKEN_SUFFIX)
    try:
        os.replace(path, target)
    except FileNotFoundError:
        return target
    log.warning(
        "shard %s is unreadable or damaged; renamed to %s, its units will be scored again", path.name, target.name
    )
    return target


def _read(path: Path) -> bytes | None:
    """Read a file; None if it is absent or the disk cannot give it. No handle left or no permission is no damage."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None


def check_shard(shard_id: str, frame: pl.DataFrame, schema: pl.Schema = SHARD_SCHEMA) -> None:
    """Check that a frame and an id can be written as a shard, or as the verdicts on one.

    Raises:
        RunError: If the columns, their types, or a null do not fit `schema`, or the id is no file name.
    """
    if not _SHARD_ID.fullmatch(shard_id):
        raise RunError(f"{shard_id!r} cannot name a shard; use letters, digits, '.', '_', '@' and '-'")
    if frame.schema != schema:
        wrong = [
            f"{name}: {frame.schema.get(name, 'absent')} instead of {dtype}"
            for name, dtype in schema.items()
            if frame.schema.get(name) != dtype
        ]
        wrong += [f"{name}: not a column of a shard" for name in frame.columns if name not in schema]
        raise RunError(f"shard {shard_id}: {'; '.join(wrong) or f'columns out of order: {frame.columns}'}")
    nulls = [name for name in schema if name != "answer" and frame[name].null_count()]
    if nulls:
        raise RunError(f"shard {shard_id}: null in {', '.join(nulls)}; only 'answer' may be null")
