"""Where shards go: a folder that every machine of a run sees."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import polars as pl

from storage.shards import SUFFIX, write_shard


class ShardFolder(Protocol):
    """The shards of one fingerprint, as a scorer sees them."""

    def holds(self, shard_id: str) -> bool:
        """Whether the shard's file is there, whole."""

    def write(self, shard_id: str, frame: pl.DataFrame) -> None:
        """Write a shard so that it exists whole or not at all; see `storage.shards.write_shard`."""


class LocalShardFolder:
    """A folder of this machine, or one that is mounted on it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def holds(self, shard_id: str) -> bool:
        """See `ShardFolder.holds`."""
        return (self.path / f"{shard_id}{SUFFIX}").is_file()

    def write(self, shard_id: str, frame: pl.DataFrame) -> None:
        """See `ShardFolder.write`."""
        write_shard(self.path, shard_id, frame)
