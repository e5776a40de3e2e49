"""A made run with hostile replies, for the pages of `thickets view`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks.synthetic_run import RUN, make_run
from thickets.storage.home import Home
from thickets.storage.shards.file import list_shards, write_shard

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202eright\u202c <img src=x onerror=alert(2)>"
LONG = HOSTILE + "y" * 3_000_000 + "the end"


def made_home(folder: Path, size: int = 24, questions: int = 30) -> Home:
    """Write a run of some candidates on `questions` questions a split, of which 3 vote; all replies to one are hostile.

    The question is ``test-00000``; the base's reply to it is `LONG`.
    """
    make_run(folder, size, (questions,) * 3, 3)
    home = Home(folder)
    shards = home.shards(home.run(RUN).fingerprint.read_text().strip())
    for path in list_shards(shards):
        rows = pl.read_parquet(path)
        reply = pl.when(candidate_id="base").then(pl.lit(LONG)).otherwise(pl.lit(HOSTILE))
        text = pl.when(example_id="test-00000").then(reply).otherwise("completion")
        write_shard(shards, path.stem, rows.with_columns(completion=text))
    return home
