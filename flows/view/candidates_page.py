"""The leaderboard of a run's candidates, and the page of one: what it gained and lost against the base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from thickets.flows.view.example_page import who_is
from thickets.flows.view.examples_page import SPLITS
from thickets.flows.view.listing import Part, part, query_string
from thickets.flows.view.opened import OpenRun
from thickets.flows.view.tables import is_finished
from thickets.storage.errors import InputError
from thickets.storage.scores.database import BASE_ID

SORTS = {
    "place": "place NULLS LAST, candidate_id",
    "expert": "expert NULLS LAST, place NULLS LAST, candidate_id",
    "sigma": "sigma, place NULLS LAST, candidate_id",
    "score": "score NULLS LAST, place DESC NULLS LAST, candidate_id",
    "validation": "validation DESC NULLS LAST, place NULLS LAST, candidate_id",
    "agreement": "agreement DESC NULLS LAST, place NULLS LAST, candidate_id",
    "tokens": "tokens DESC NULLS LAST, place NULLS LAST, candidate_id",
    "cut off": "share_cut_off DESC NULLS LAST, place NULLS LAST, candidate_id",
    "looping": "n_looping DESC, place NULLS LAST, candidate_id",
}

BOARD = """
WITH looped AS (SELECT candidate_id, count(*) AS n_looping FROM loops WHERE split = 'selection' GROUP BY candidate_id)

SELECT board.*, coalesce(n_looping, 0) AS n_looping, coalesce(n_looping, 0) / nullif(n, 0) AS share_looping
FROM board
LEFT JOIN looped USING (candidate_id)
WHERE seed IS NOT NULL AND ($sigma IS NULL OR sigma = $sigma) AND (NOT $experts OR expert IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class WantedCandidates:
    """Which candidates are shown, and in which order.

    Attributes:
        sigma: Only those of this sigma; None: all.
        experts: Only those that vote.
        sort: One of `SORTS`.
        page: From 1.
    """

    sigma: float | None = None
    experts: bool = False
    sort: str = "place"
    page: int = 1

    def check(self) -> WantedCandidates:
        """Return it, or raise an `InputError`."""
        if self.sort not in SORTS:
            raise InputError(f"sort: found {self.sort!r}; allowed are {', '.join(SORTS)}")
        return self

    @property
    def parameters(self) -> dict[str, object]:
        """Those of `BOARD`."""
        return {"sigma": self.sigma, "experts": self.experts}

    def query(self, **changes: Any) -> str:
        """Return it as the end of an address, with changes."""
        values = {"sigma": self.sigma, "experts": int(self.experts), "sort": self.sort, "page": self.page}
        if changes and "page" not in changes:
            values["page"] = 1
        return query_string(values | changes, {"experts": 0, "sort": "place", "page": 1})


@dataclass(frozen=True, slots=True)
class CandidatesPage:
    """The candidates that are shown.

    Attributes:
        base: The base's row.
        sigmas: The sigmas of the run.
        share_read: Share of the replies in which loops have been looked for.
    """

    wanted: WantedCandidates
    rows: tuple[dict[str, Any], ...]
    part: Part
    base: dict[str, Any] | None
    sigmas: tuple[float, ...]
    is_finished: bool
    share_read: float


def candidates_page(run: OpenRun, wanted: WantedCandidates) -> CandidatesPage:
    """Return a page of the leaderboard."""
    [counted] = run.rows(f"SELECT count(*) AS n FROM ({BOARD})", wanted.parameters)
    which = part(wanted.page, counted["n"])
    order = f"ORDER BY {SORTS[wanted.sort]} LIMIT {which.size} OFFSET {which.offset}"
    rows = run.rows(f"{BOARD} {order}", wanted.parameters)
    base = run.rows(
        "SELECT *, (SELECT count(*) FROM loops WHERE split = 'selection' AND candidate_id = 'base') / nullif(n, 0) "
        "AS share_looping FROM board WHERE candidate_id = 'base'"
    )
    sigmas = run.rows("SELECT DISTINCT sigma FROM board WHERE seed IS NOT NULL ORDER BY sigma")
    return CandidatesPage(
        wanted,
        tuple(rows),
        which,
        base[0] if base else None,
        tuple(row["sigma"] for row in sigmas),
        is_finished(run.folder),
        run.share_read,
    )


def candidates_rows(run: OpenRun, wanted: WantedCandidates) -> pl.DataFrame:
    """Return all rows of the leaderboard that fit."""
    return run.reader.query(f"{BOARD} ORDER BY {SORTS[wanted.sort]}", wanted.parameters)


@dataclass(frozen=True, slots=True)
class CandidatePage:
    """One candidate.

    Attributes:
        row: Its row of the leaderboard.
        name: ``expert 3``, ``candidate 17`` or its id.
        split: The split of the questions.
        splits: The splits that it has answered.
        show: ``gained``, ``lost`` or ``all`` of the questions on which one of base and candidate is right.
        n_gained: Questions that it alone has right.
        n_lost: Those that the base alone has.
        n_both: Those that both have.
        n_neither: Those that neither has.
        rows: The questions of this page: example_id, position, question, gold, answers.
    """

    row: dict[str, Any]
    name: str
    split: str
    splits: tuple[str, ...]
    show: str
    n_gained: int
    n_lost: int
    n_both: int
    n_neither: int
    rows: tuple[dict[str, Any], ...]
    part: Part

    def query(self, **changes: Any) -> str:
        """Return the state of the page as the end of its address, with changes."""
        return query_string({"split": self.split, "show": self.show} | changes, {"show": "all", "page": 1})


_PAIRS = """
WITH pairs AS (
    SELECT
        e.position, example_id, question, e.answer AS gold, b.answer AS base_answer, m.answer AS answer,
        b.correct AS base_correct, m.correct AS correct, m.finish_reason = 'length' AS is_cut_off
    FROM scores AS m
    JOIN scores AS b USING (run_id, split, example_id)
    JOIN examples AS e USING (run_id, split, example_id)
    WHERE m.candidate_id = $who AND b.candidate_id = 'base' AND split = $split
)
"""
_SHOWN = {
    "all": "correct <> base_correct",
    "gained": "correct AND NOT base_correct",
    "lost": "base_correct AND NOT correct",
}


def candidate_page(run: OpenRun, who: str, split: str = "", show: str = "all", page: int = 1) -> CandidatePage:
    """Return the page of one candidate.

    Raises:
        InputError: The run has no such candidate, or `split` or `show` is none that is allowed.
    """
    found = run.rows("SELECT * FROM board WHERE candidate_id = $who", {"who": who})
    if not found or who == BASE_ID:
        raise InputError(f"no candidate {who!r} in this run")
    answered = {
        str(row["split"])
        for row in run.rows("SELECT DISTINCT split FROM units WHERE candidate_id = $who", {"who": who})
    }
    splits = tuple(name for name in SPLITS if name in answered)
    split = split or (splits[0] if splits else "selection")
    _check(split, show)
    mine = {"who": who, "split": split}
    [n] = run.rows(
        f"{_PAIRS} SELECT count(*) FILTER ({_SHOWN['gained']}) AS gained, count(*) FILTER ({_SHOWN['lost']}) AS lost, "
        "count(*) FILTER (correct AND base_correct) AS both, "
        "count(*) FILTER (NOT correct AND NOT base_correct) AS neither FROM pairs",
        mine,
    )
    counts: dict[str, int] = n
    which = part(page, counts["gained"] + counts["lost"] if show == "all" else counts[show])
    rows = run.rows(
        f"{_PAIRS} SELECT * FROM pairs WHERE {_SHOWN[show]} ORDER BY correct DESC, position "
        f"LIMIT {which.size} OFFSET {which.offset}",
        mine,
    )
    return CandidatePage(
        found[0],
        who_is(found[0]),
        split,
        splits,
        show,
        counts["gained"],
        counts["lost"],
        counts["both"],
        counts["neither"],
        tuple(rows),
        which,
    )


def candidate_rows(run: OpenRun, who: str, split: str, show: str) -> pl.DataFrame:
    """Return all questions that a candidate gains or loses against the base.

    Raises:
        InputError: `split` or `show` is none that is allowed.
    """
    _check(split, show)
    sql = f"{_PAIRS} SELECT * FROM pairs WHERE {_SHOWN[show]} ORDER BY correct DESC, position"
    return run.reader.query(sql, {"who": who, "split": split})


def _check(split: str, show: str) -> None:
    if show not in _SHOWN:
        raise InputError(f"show: found {show!r}; allowed are {', '.join(_SHOWN)}")
    if split not in SPLITS:
        raise InputError(f"split: found {split!r}; allowed are {', '.join(SPLITS)}")
