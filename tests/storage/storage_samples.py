"""A small population whose scores are a function of the names alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from thickets.storage.shards.file import SHARD_SCHEMA, write_shard

SPLITS = {"selection": 6, "validation": 4}
BLOCK = 2


def candidate_frame(n: int) -> pl.DataFrame:
    """The base and n candidates; seeds fall with the position, so that ties are not ordered by position."""
    seeds = [2**64 - 1 - i for i in range(n)]
    return pl.DataFrame(
        {
            "candidate_id": ["base", *(f"{seed:016x}@0.001" for seed in seeds)],
            "seed": pl.Series([None, *seeds], dtype=pl.UInt64),
            "sigma": [0.0, *([0.001] * n)],
            "position": range(-1, n),
        }
    )


def example_frame() -> pl.DataFrame:
    rows = [
        {
            "split": split,
            # ids sort against their position
            "example_id": f"{split}-{99 - i}",
            "position": i,
            "block": i // BLOCK,
            "question": f"{i} + {i}?",
            "answer": str(2 * i),
        }
        for split, n in SPLITS.items()
        for i in range(n)
    ]
    return pl.DataFrame(rows)


def score_rows(candidates: Sequence[str], split: str, block: int) -> pl.DataFrame:
    """The answers of some candidates to one block; a function of the names alone."""
    examples = example_frame().filter(split=split, block=block)
    rows = []
    for candidate in candidates:
        for example_id, gold in examples.select("example_id", "answer").iter_rows():
            luck = sum(f"{candidate}{example_id}".encode()) % 7
            rows.append(
                {
                    "candidate_id": candidate,
                    "split": split,
                    "block": block,
                    "example_id": example_id,
                    "correct": luck > 3,
                    "answer": None if luck == 0 else gold if luck > 3 else f"wrong{luck}",
                    "n_tokens": 5 + luck,
                    "finish_reason": "length" if luck == 1 else "stop",
                    "completion": f"{candidate} says {luck}",
                }
            )
    return pl.DataFrame(rows, schema=SHARD_SCHEMA)


def write_shards(folder: Path, n: int, size: int = 3, splits: Sequence[str] = ("selection",)) -> list[Path]:
    """Write the shards of a population, ``size`` candidates each, and return their paths."""
    ids = candidate_frame(n)["candidate_id"].to_list()
    return [
        write_shard(folder, f"{split}-{first}-{block}", score_rows(ids[first : first + size], split, block))
        for split in splits
        for first in range(0, len(ids), size)
        for block in range(SPLITS[split] // BLOCK)
    ]
