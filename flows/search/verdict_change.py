"""Tells how verdicts differ from those that another run gave to the same answers under another judgement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from thickets.flows.plan import RunPlan
from thickets.flows.results.summary import VerdictChange
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import RunFolder
from thickets.storage.shards.file import is_intact, list_shards, verdicts_name
from thickets.tasks.aggregation import ScoreBook

_KEY = ["candidate_id", "split", "example_id"]
_SHORT = 40  # characters of a value that is shown


def compare_with_earlier(plan: RunPlan, book: ScoreBook, folder: RunFolder) -> VerdictChange | None:
    """Compare the verdicts on what is generated with those of the newest earlier run that judged it otherwise.

    Args:
        plan: The run.
        book: Its score book, which judges what has no verdicts yet.
        folder: Its folder, with its judgement.

    Returns:
        None if no run of this home has judged these answers otherwise before this one did.
    """
    if (earlier := _earlier_run(plan, folder)) is None:
        return None
    judgement = json.loads(earlier.judgement.read_text(encoding="utf-8"))
    before = {path.stem: path for path in list_shards(plan.shards / verdicts_name(fingerprint(judgement)))}
    now = {path.stem: path for path in book.judge_what_is_left()}
    common = [name for name in sorted(before.keys() & now.keys()) if is_intact(before[name]) and is_intact(now[name])]
    if not common:
        return None
    try:
        pairs = _read(before, common).join(_read(now, common), on=_KEY, suffix="_now")
    except (pl.exceptions.PolarsError, OSError):  # a damaged file of the other run is no reason to end this one
        return None
    was, is_right = pl.col("correct"), pl.col("correct_now")
    is_read = pl.col("answer").ne_missing(pl.col("answer_now"))
    is_graded = ~is_read & (pl.col("score") != pl.col("score_now"))
    counts = pairs.select(
        n=pl.len(),
        n_lost=(was & ~is_right).sum(),
        n_gained=(~was & is_right).sum(),
        n_read=((was == is_right) & is_read).sum(),
        n_graded=((was == is_right) & is_graded).sum(),
    ).row(0, named=True)
    return VerdictChange(run_id=earlier.run_id, what=describe_change(judgement, plan.judgement), **counts)


def describe_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words what differs between two judgements, such as ``verifier numeric -> math``."""
    old, new = before["judge"], json.loads(json.dumps(now["judge"]))
    differ = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if "verifier" in differ:  # the rest comes with it
        differ = ["verifier"]
    words = [_change(name, old.get(name), new.get(name)) for name in differ]
    if before["gold"] != now["gold"]:
        words.append("gold answers changed")
    named = str(new.get("verifier") or "")
    return f"verifier {named}: {', '.join(words)}" if named and "verifier" not in differ else ", ".join(words)


def _change(name: str, before: Any, now: Any) -> str:
    old, new = (value if isinstance(value, str) else json.dumps(value) for value in (before, now))
    return f"{name} {old} -> {new}" if max(len(old), len(new)) <= _SHORT or name == "verifier" else f"{name} changed"


def _earlier_run(plan: RunPlan, folder: RunFolder) -> RunFolder | None:
    """Return the run of the home that last judged these answers otherwise, of those that began before this one."""
    mine = folder.judgement
    ours, since = mine.read_bytes(), mine.stat().st_mtime_ns
    found = [
        other
        for other in map(RunFolder, plan.home.runs.iterdir())
        if other.judgement.is_file()
        and other.fingerprint.is_file()
        and other.fingerprint.read_text(encoding="ascii").strip() == plan.fingerprint
        and other.judgement.stat().st_mtime_ns < since
        and other.judgement.read_bytes() != ours
    ]
    return max(found, key=lambda other: other.judgement.stat().st_mtime_ns, default=None)


def _read(files: Mapping[str, Path], names: list[str]) -> pl.DataFrame:
    """Read the verdicts of some shards; of a unit that two of them hold, the first."""
    columns = [*_KEY, "score", "correct", "answer"]
    frame = pl.read_parquet([files[name] for name in names], columns=columns, hive_partitioning=False)
    return frame.unique(_KEY, keep="first")
