"""Which replies repeat themselves: found shard by shard in the background, and kept, as shards never change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl

from thickets.storage.errors import InputError
from thickets.storage.scores.sql import connect, fetch
from thickets.storage.shards.file import list_shards

SCHEMA = pl.Schema(
    {"shard_id": pl.String(), "candidate_id": pl.String(), "split": pl.String(), "example_id": pl.String()}
)

# As the ready query `looping` has it: the last 20 characters occur four times or more.
_LOOPING = """
SELECT candidate_id, split, example_id
FROM shard
WHERE (length(completion) - length(replace(completion, right(completion, 20), ''))) / 20 >= 4
"""
_BATCH_ROWS = 20_000


class Loops:
    """The looping replies of one folder of shards; a thread reads new shards while somebody asks."""

    def __init__(self, shards: Path) -> None:
        self._shards = shards
        self._found: dict[str, pl.DataFrame] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._n_known = 0
        self._is_over = threading.Event()

    @property
    def share_read(self) -> float:
        """Share of the shards that are read, from 0 to 1."""
        return len(self._found) / self._n_known if self._n_known else 1.0

    def frame(self) -> pl.DataFrame:
        """Return the looping replies that are known (see `SCHEMA`), and see to it that new shards are read."""
        with self._lock:
            paths = list_shards(self._shards)
            self._n_known = len(paths)
            new = [path for path in paths if path.stem not in self._found]
            is_read = self._thread is not None and self._thread.is_alive()
            if new and not is_read and not self._is_over.is_set():
                new.sort(key=lambda path: not path.stem.startswith("test"))  # the smallest, and the first looked at
                self._thread = threading.Thread(target=self._read, args=(new,), name="loops", daemon=True)
                self._thread.start()
            found = list(self._found.values())
        return pl.concat(found) if found else pl.DataFrame(schema=SCHEMA)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for the thread that reads."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def stop(self) -> None:
        """Have the thread end soon, and start no other."""
        self._is_over.set()

    def _read(self, paths: list[Path]) -> None:
        with closing(connect(None)) as connection:
            connection.execute("SET threads = 1")  # whoever looks at a page comes first
            for path in paths:
                found = pl.concat([pl.DataFrame(schema=SCHEMA), *self._looping(connection, path)])
                if self._is_over.is_set():
                    return
                with self._lock:
                    self._found[path.stem] = found
                time.sleep(0.01)

    def _looping(self, connection: duckdb.DuckDBPyConnection, path: Path) -> Iterator[pl.DataFrame]:
        """Yield the looping replies of a shard; of one that cannot be read, none."""
        columns = ["candidate_id", "split", "example_id", "completion"]
        try:
            rows = pl.read_parquet(path, columns=columns, hive_partitioning=False)
        except (OSError, pl.exceptions.PolarsError):
            return
        for start in range(0, rows.height, _BATCH_ROWS):
            if self._is_over.is_set():
                return
            connection.register("shard", rows.slice(start, _BATCH_ROWS).to_arrow())
            try:
                found = fetch(connection, _LOOPING)
            except InputError:
                return
            yield found.select(pl.lit(path.stem).alias("shard_id"), "candidate_id", "split", "example_id")
