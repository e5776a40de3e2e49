"""A small population whose scores are a function of the names alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import RunFolder
from thickets.storage.shards.file import SHARD_SCHEMA, VERDICT_SCHEMA, list_shards, verdicts_name, write_shard

SPLITS = {"selection": 6, "validation": 4}
BLOCK = 2
JUDGEMENT = {"judge": "of the samples"}
VERDICTS = fingerprint(JUDGEMENT)
ROW_SCHEMA = pl.Schema(
    {
        name: (SHARD_SCHEMA | VERDICT_SCHEMA)[name]
        for name in (
            *("candidate_id", "split", "block", "example_id", "correct", "answer"),
            *("n_tokens", "finish_reason", "completion"),
        )
    }
)
"""An answer with its completion and its verdict, in one row; right ones have full marks."""


def write_rows(folder: Path, shard_id: str, rows: pl.DataFrame | Sequence[tuple]) -> Path:
    """Write answers as a shard and the verdicts on it; give the file of verdicts."""
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, schema=ROW_SCHEMA, orient="row")
    if "score" not in frame.columns:
        frame = frame.with_columns(score=1000 * pl.col("correct").cast(pl.UInt16))
    write_shard(folder, shard_id, frame.select(SHARD_SCHEMA.names()))
    return write_shard(verdicts_in(folder), shard_id, frame.select(VERDICT_SCHEMA.names()), VERDICT_SCHEMA)


def verdicts_in(folder: Path, judgement: str = VERDICTS) -> Path:
    """The folder of the verdicts on the shards of another."""
    return folder / verdicts_name(judgement)


def answers_in(folder: Path) -> pl.DataFrame:
    """Every completion of a shard folder with its verdict, where all were judged in one way."""
    [verdicts] = folder.glob("verdicts-*")
    shards = list_shards(folder)
    frames = [(pl.read_parquet(path), pl.read_parquet(verdicts / path.name)) for path in shards]
    return pl.concat([judged.with_columns(answered["completion"]) for answered, judged in frames])


def record_judgement(run: Path) -> None:
    """Write down how the samples are judged, as a run does when it begins."""
    RunFolder(run).judgement.parent.mkdir(parents=True, exist_ok=True)
    RunFolder(run).judgement.write_text(json.dumps(JUDGEMENT))


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
    return pl.DataFrame(rows, schema=ROW_SCHEMA)


def completion_rows(candidates: Sequence[str], split: str, block: int) -> pl.DataFrame:
    """The completions of some candidates on one block, as a shard keeps them."""
    return score_rows(candidates, split, block).select(SHARD_SCHEMA.names())


def verdict_rows(candidates: Sequence[str], split: str, block: int) -> pl.DataFrame:
    """The verdicts on them, as they are kept beside the shard."""
    frame = score_rows(candidates, split, block).with_columns(score=1000 * pl.col("correct").cast(pl.UInt16))
    return frame.select(VERDICT_SCHEMA.names())


def write_shards(folder: Path, n: int, size: int = 3, splits: Sequence[str] = ("selection",)) -> list[Path]:
    """Write the shards of a population, ``size`` candidates each, and return the files of the verdicts on them."""
    ids = candidate_frame(n)["candidate_id"].to_list()
    return [
        write_rows(folder, f"{split}-{first}-{block}", score_rows(ids[first : first + size], split, block))
        for split in splits
        for first in range(0, len(ids), size)
        for block in range(SPLITS[split] // BLOCK)
    ]
