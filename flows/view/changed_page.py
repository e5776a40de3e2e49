"""The page of what changed: answers given by base and ensemble, format or reasoning, cut off and looping replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from thickets.flows.results.stored import stored_summary
from thickets.flows.view.listing import Part, part
from thickets.flows.view.opened import OpenRun
from thickets.storage.errors import InputError

ROWS = 30

_SHIFT = """
WITH given AS (
    SELECT base_answer AS answer, base_correct AS correct, true AS by_base FROM outcomes
    UNION ALL
    SELECT vote_answer, vote_correct, false FROM outcomes
)

SELECT
    answer, count_if(by_base) AS n_base, count_if(NOT by_base) AS n_vote, n_vote - n_base AS shift,
    count_if(by_base AND correct) AS base_right, count_if(NOT by_base AND correct) AS vote_right
FROM given
GROUP BY answer
"""
_BY_SIGMA = """
WITH looped AS (SELECT candidate_id, count(*) AS n_looping FROM loops WHERE split = 'selection' GROUP BY candidate_id)

SELECT
    CASE WHEN seed IS NULL THEN NULL ELSE sigma END AS sigma, count(*) AS n_candidates, sum(n)::BIGINT AS n_answers,
    sum(n_correct) / nullif(sum(n), 0) AS accuracy, sum(n_cut_off) / nullif(sum(n), 0) AS share_cut_off,
    sum(share_abstained * n) / nullif(sum(n), 0) AS share_abstained,
    coalesce(sum(n_looping), 0) / nullif(sum(n), 0) AS share_looping, sum(tokens * n) / nullif(sum(n), 0) AS tokens
FROM board
LEFT JOIN looped USING (candidate_id)
WHERE n > 0
GROUP BY ALL
ORDER BY sigma NULLS FIRST
"""


@dataclass(frozen=True, slots=True)
class ChangedPage:
    """What changed.

    Attributes:
        shifts: Answers with how often base and vote give them, the largest shift first; empty until the run is
            finished.
        largest: The largest count among them, for the bars.
        is_text: Whether the closest text wins, so that hardly two answers are equal and none are counted.
        gains: What became of the test questions: name, count, in words; empty until the run is finished.
        sigmas: By sigma, the base first (sigma None).
        share_read: Share of the replies in which loops have been looked for.
    """

    shifts: tuple[dict[str, Any], ...]
    part: Part
    largest: int
    is_text: bool
    gains: tuple[tuple[str, int, str], ...]
    sigmas: tuple[dict[str, Any], ...]
    share_read: float


TABLES = ("fates", "answers", "sigmas")


def changed_rows(run: OpenRun, table: str) -> pl.DataFrame:
    """Return all rows of a table of the page, one of `TABLES`; none where the run is not finished.

    Raises:
        InputError: There is no such table.
    """
    match table:
        case "fates":
            return pl.DataFrame(list(changed_page(run).gains), schema=_FATE_COLUMNS, orient="row")
        case "answers":
            if not run.folder.summary.is_file():
                raise InputError("answers: the run is not finished")
            return run.reader.query(f"{_SHIFT} ORDER BY abs(shift) DESC, n_base DESC, answer")
        case "sigmas":
            return run.reader.query(_BY_SIGMA)
    raise InputError(f"table: found {table!r}; allowed are {', '.join(TABLES)}")


_FATE_COLUMNS = pl.Schema({"fate": pl.String(), "n": pl.Int64(), "words": pl.String()})
_FATES = {
    "retained": "right before and after",
    "format_fixed": "the base named the right answer, but not where or how it was asked to",
    "reasoning_fixed": "the right answer was nowhere in the base's reply",
    "unclear_fixed": "which of the two cannot be told",
    "regressed": "right before, wrong after",
    "still_wrong": "wrong before and after",
}


def changed_page(run: OpenRun, page: int = 1) -> ChangedPage:
    """Return what changed from base to ensemble, and by sigma."""
    summary = stored_summary(run.folder) if run.folder.summary.is_file() else None
    sigmas = run.rows(_BY_SIGMA)
    is_text = summary is not None and summary.evaluation.metric is not None
    shifts: list[dict[str, Any]] = []
    which, largest = part(1, 0, ROWS), 1
    if summary is not None and not is_text:
        [total] = run.rows(f"SELECT count(*) AS n, max(greatest(n_base, n_vote)) AS largest FROM ({_SHIFT})")
        which, largest = part(page, total["n"], ROWS), total["largest"] or 1
        shifts = run.rows(
            f"{_SHIFT} ORDER BY abs(shift) DESC, n_base DESC, answer LIMIT {which.size} OFFSET {which.offset}"
        )
    counts = summary.thicket.gains.model_dump() if summary is not None else {}
    gains = tuple((name.replace("_", " "), counts[name], words) for name, words in _FATES.items() if name in counts)
    return ChangedPage(tuple(shifts), which, largest, is_text, gains, tuple(sigmas), run.share_read)
