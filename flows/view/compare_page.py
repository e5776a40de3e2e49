"""The page of runs side by side: results, settings, and of two runs with the same test questions who gets which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from thickets.flows.results.compare import compare
from thickets.flows.results.comparison import Comparison
from thickets.flows.results.comparison_text import TextTable, discordance_table, sentences
from thickets.flows.view.listing import Part, part, query_string
from thickets.flows.view.opened import Runs
from thickets.flows.view.rows import spread, spread_schema
from thickets.storage.errors import InputError
from thickets.tasks.types import FULL

_OF_A_VOTE = ("answer", "correct", "score")
TABLES = ("results", "questions", "settings")
_SHOWN = {
    "all": pl.col("ours_score") != pl.col("theirs_score"),
    "first": pl.col("ours_score") > pl.col("theirs_score"),
    "second": pl.col("ours_score") < pl.col("theirs_score"),
}


@dataclass(frozen=True, slots=True)
class Apart:
    """The test questions on which the votes of two runs score differently: one gets them, the other does not.

    Attributes:
        first: Id of the first run.
        second: Id of the other.
        n_first: Questions that the first alone gets, or scores higher on.
        n_second: Those of the other.
        n_both: Those that both get.
        n_neither: Those on which they score alike, and neither is right.
        is_graded: Whether a score lies between wrong and right.
        show: ``all``, ``first`` or ``second``: which of them `rows` has.
        rows: Of this page: position, example_id, question, gold, and answer and verdict of `ours` and `theirs`.
    """

    first: str
    second: str
    n_first: int
    n_second: int
    n_both: int
    n_neither: int
    is_graded: bool
    show: str
    rows: tuple[dict[str, Any], ...]
    part: Part

    def query(self, **changes: Any) -> str:
        """Return the end of the page's address, with changes."""
        found = query_string({"show": self.show} | changes, {"show": "all", "page": 1})
        return f"?run={self.first}&run={self.second}" + found.replace("?", "&", 1)


@dataclass(frozen=True, slots=True)
class ComparePage:
    """Some runs side by side.

    Attributes:
        sentences: What their comparison says.
        discordance: How differently their problems rank the candidates that they share; None where nothing is known.
        apart: Of every two runs with the same test questions; of two runs alone, with the questions.
    """

    comparison: Comparison
    sentences: tuple[str, ...]
    discordance: TextTable | None
    apart: tuple[Apart, ...]


def compare_page(runs: Runs, names: list[str], show: str = "all", page: int = 1) -> ComparePage:
    """Return the page of two runs or more.

    Raises:
        InputError: There are fewer, one is not finished, or `show` is none that is allowed.
    """
    found = _compared(runs, names)
    votes = {run.run_id: _votes(runs, run.run_id) for run in found.runs} if _pairs(found) else {}
    apart = tuple(
        _apart(first, second, _joined(votes[first], votes[second]), show, page if len(found.runs) == 2 else None)
        for first, second in _pairs(found)
    )
    return ComparePage(found, tuple(sentences(found)), discordance_table(found), apart)


def compare_rows(runs: Runs, names: list[str], table: str, show: str = "all") -> pl.DataFrame:
    """Return all rows of a table of the page, one of `TABLES`.

    Raises:
        InputError: There is no such table, or as in `compare_page`.
    """
    found = _compared(runs, names)
    match table:
        case "results":
            schema = {"run_id": pl.String(), "name": pl.String(), "label": pl.String(), **spread_schema("accuracy")}
            schema |= {**spread_schema("over_base"), "n_tokens": pl.Int64()}
            rows = [
                {"run_id": run.run_id, "name": row.name, "label": row.label, "n_tokens": row.n_tokens}
                | spread("accuracy", row.accuracy)
                | spread("over_base", row.over_base)
                for run in found.runs
                for row in run.rows
            ]
            return pl.DataFrame(rows, schema=schema)
        case "questions":
            if len(found.runs) != 2 or not _pairs(found):
                raise InputError("questions: name two runs with the same test questions")
            first, second = (_votes(runs, run.run_id) for run in found.runs)
            return _joined(first, second).filter(_shown(show))
        case "settings":
            schema = dict.fromkeys(("field", *(run.run_id for run in found.runs)), pl.String())
            values = [
                [row.field, *(None if each is None else str(each) for each in row.values)] for row in found.config
            ]
            return pl.DataFrame(values, schema=schema, orient="row")
    raise InputError(f"table: found {table!r}; allowed are {', '.join(TABLES)}")


def _compared(runs: Runs, names: list[str]) -> Comparison:
    distinct = list(dict.fromkeys(names))
    if len(distinct) < 2:
        raise InputError("compare: tick two runs or more in the table of runs")
    return compare(runs.home, distinct)


def _pairs(found: Comparison) -> list[tuple[str, str]]:
    """Return the pairs that have answered the same test questions."""
    return [(pair.ours, pair.theirs) for pair in found.pairs if pair.difference is not None]


def _votes(runs: Runs, run_id: str) -> pl.DataFrame:
    with runs.open(runs.find(run_id)) as run:  # one after the other: whoever held two could wait for another who does
        return run.reader.query(
            "SELECT example_id, position, question, gold, vote_answer, vote_correct, vote_score FROM outcomes"
        )


def _joined(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    both = first.join(
        second.select(pl.all().exclude("position", "question", "gold")), on="example_id", suffix=" of other"
    )
    names = {f"vote_{each}": f"ours_{each}" for each in _OF_A_VOTE}
    names |= {f"vote_{each} of other": f"theirs_{each}" for each in _OF_A_VOTE}
    return both.rename(names).sort("position", "example_id")


def _apart(first: str, second: str, votes: pl.DataFrame, show: str, page: int | None) -> Apart:
    """Count who gets which question; with a page, list those of it."""
    n_first, n_second = (votes.filter(_SHOWN[name]).height for name in ("first", "second"))
    n_both = votes.filter(~_SHOWN["all"] & pl.col("ours_correct")).height
    is_graded = not all(votes[name].is_in([0, FULL]).all() for name in ("ours_score", "theirs_score"))
    listed = votes.filter(_shown(show))
    which = part(page or 1, listed.height)
    rows = listed[which.offset : which.last].to_dicts() if page is not None else []
    n_neither = votes.height - n_first - n_second - n_both
    return Apart(first, second, n_first, n_second, n_both, n_neither, is_graded, show, tuple(rows), which)


def _shown(show: str) -> pl.Expr:
    if show not in _SHOWN:
        raise InputError(f"show: found {show!r}; allowed are {', '.join(_SHOWN)}")
    return _SHOWN[show]
