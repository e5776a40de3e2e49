"""Fetches completions from their shards, a few at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from thickets.storage.shards.file import SUFFIX

_BEGINNING = 200_000
"""Characters that are read of a reply to be shown."""


@dataclass(frozen=True, slots=True)
class Written:
    """A reply.

    Attributes:
        text: Its beginning, or all of it.
        n_characters: Of the whole.
    """

    text: str
    n_characters: int


def fetch_replies(
    shards: Path | None, keys: list[tuple[str, str, str, str]], most: int | None = _BEGINNING
) -> dict[tuple[str, str], Written]:
    """Fetch replies.

    Args:
        shards: The folder of the completions; None: there are none here.
        keys: shard_id, candidate_id, split, example_id of each.
        most: Characters of each that are read; None: all.

    Returns:
        By candidate_id and example_id; those that are not here are left out.
    """
    found: dict[tuple[str, str], Written] = {}
    if shards is None:
        return found
    for shard_id in dict.fromkeys(key[0] for key in keys):
        mine = [key[1:] for key in keys if key[0] == shard_id]
        wanted = pl.DataFrame(mine, schema=["candidate_id", "split", "example_id"], orient="row")
        text = pl.col("completion")
        try:
            rows = (
                pl.scan_parquet(shards / f"{shard_id}{SUFFIX}", hive_partitioning=False)
                .filter(
                    pl.col("candidate_id").is_in(wanted["candidate_id"].unique().to_list()),
                    pl.col("example_id").is_in(wanted["example_id"].unique().to_list()),
                )
                .join(wanted.lazy(), on=wanted.columns, how="semi")
                .select(
                    "candidate_id",
                    "example_id",
                    text if most is None else text.str.slice(0, most),
                    n=text.str.len_chars(),
                )
                .collect()
            )
        except (OSError, pl.exceptions.PolarsError):  # not on this machine, or damaged
            continue
        found |= {(who, example): Written(said, n) for who, example, said, n in rows.iter_rows()}
    return found
