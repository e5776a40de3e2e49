"""The page of a run's questions: what base, vote and experts made of each; filtered, searched, sorted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from thickets.flows.view.listing import Part, part, query_string
from thickets.flows.view.opened import OpenRun
from thickets.flows.view.replies import fetch_replies
from thickets.flows.view.reply_text import snippet
from thickets.flows.view.tables import is_finished
from thickets.storage.errors import InputError
from thickets.storage.scores.database import BASE_ID

ROWS = 25
SPLITS = ("test", "validation", "selection")

_LOOPED = "example_id IN (SELECT example_id FROM looped)"
FILTERS = {
    "": "true",
    "fixed": "outcome = 'fixed'",
    "broken": "outcome = 'broken'",
    "never right": "NOT coalesce(base_correct, false) AND n_right = 0",
    "cut off": "(base_cut_off OR n_cut_off > 0)",
    "abstained": "(n_abstain > 0 OR (base_answer IS NULL AND base_correct IS NOT NULL))",
    "looping": _LOOPED,
    "disagreement": "CASE WHEN outcome IS NULL THEN n_answers > 1 ELSE coalesce(share, 0) <= 0.5 END",
}
"""What each filter lets through, of the table ``questions`` and the common table ``looped``."""

SORTS = {
    "position": "position",
    "hardest": "n_right / nullif(n, 0) NULLS LAST, position",
    "easiest": "n_right / nullif(n, 0) DESC NULLS LAST, position",
    "unsure": "share NULLS FIRST, n_answers DESC, position",
}

# Who answers beside the base: as in `thickets.flows.view.tables.QUESTIONS`.
WHO = """who AS (
    SELECT candidate_id, coalesce(expert, place) AS rank FROM board
    WHERE seed IS NOT NULL AND ($split <> 'test' OR expert IS NOT NULL OR NOT $is_finished)
),

looped AS (
    SELECT DISTINCT example_id, candidate_id FROM loops
    WHERE split = $split AND (candidate_id = 'base' OR candidate_id IN (SELECT candidate_id FROM who))
)"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which questions are shown, and how: all of it is in the page's address.

    Attributes:
        split: One of `SPLITS`.
        show: One of `FILTERS`; empty: all.
        q: Text that question, gold, an answer or (on the test split) a reply holds.
        sort: One of `SORTS`.
        page: From 1.
        usual: The split that the run's address leads to without one.
    """

    split: str = "test"
    show: str = ""
    q: str = ""
    sort: str = "position"
    page: int = 1
    usual: str = "test"

    def check(self) -> Wanted:
        """Return it, or raise an `InputError` that names what is not allowed."""
        for name, allowed in (("split", SPLITS), ("show", FILTERS), ("sort", SORTS)):
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f"{name}: found {value!r}; allowed are {', '.join(filter(None, allowed))}")
        return self

    def query(self, **changes: Any) -> str:
        """Return it as the end of an address, with changes; another filter or order begins at the first page."""
        values = {name: getattr(self, name) for name in ("split", "show", "q", "sort", "page")}
        if changes and "page" not in changes:
            values["page"] = 1
        return query_string(values | changes, {"split": self.usual, "sort": "position", "page": 1})


@dataclass(frozen=True, slots=True)
class Votes:
    """One answer in the vote on a question, or None for those that abstain."""

    answer: str | None
    n: int
    is_right: bool


@dataclass(frozen=True, slots=True)
class ExampleLine:
    """One question.

    Attributes:
        row: Its row of the table ``questions``.
        base_text: The beginning of the base's reply; empty where it is not here.
        votes: The answers of those that answer beside the base, the most frequent first.
        n_looping: Replies that repeat themselves, the base's among them.
    """

    row: dict[str, Any]
    base_text: str
    votes: tuple[Votes, ...]
    n_looping: int


@dataclass(frozen=True, slots=True)
class ExamplesPage:
    """The questions that are shown.

    Attributes:
        counts: How many questions of the split each filter lets through.
        sizes: Questions of each split.
        share_read: Share of the replies in which loops have been looked for.
    """

    wanted: Wanted
    lines: tuple[ExampleLine, ...]
    part: Part
    counts: dict[str, int]
    sizes: dict[str, int]
    is_finished: bool
    share_read: float


def common_parameters(run: OpenRun, wanted: Wanted) -> dict[str, object]:
    """Return the parameters of `WHO` and `chosen`."""
    return {"split": wanted.split, "is_finished": is_finished(run.folder)}


def chosen(wanted: Wanted) -> tuple[str, dict[str, object]]:
    """Return what the chosen questions fulfil, in SQL, and its parameters."""
    sql = f"split = $split AND {FILTERS[wanted.show]}"
    if not wanted.q:
        return sql, {}
    texts = ["question", "gold", "coalesce(base_answer, '')", "coalesce(vote_answer, '')", "example_id"]
    found = " OR ".join(f"contains(lower({text}), lower($q))" for text in texts)
    if wanted.split == "test":  # elsewhere every candidate has replied, and a search would read all of it
        found += (
            " OR example_id IN (SELECT example_id FROM completions WHERE split = 'test' "
            "AND (candidate_id = 'base' OR candidate_id IN (SELECT candidate_id FROM who)) "
            "AND contains(lower(completion), lower($q)))"
        )
    return f"{sql} AND ({found})", {"q": wanted.q}


def examples_page(run: OpenRun, wanted: Wanted) -> ExamplesPage:
    """Return a page of the questions of a run."""
    common = common_parameters(run, wanted)
    each = ", ".join(f'count(*) FILTER ({sql}) AS "{name or "all"}"' for name, sql in FILTERS.items())
    [counts] = run.rows(f"WITH {WHO} SELECT {each} FROM questions WHERE split = $split", common)
    where, params = chosen(wanted)
    [total] = run.rows(f"WITH {WHO} SELECT count(*) AS n FROM questions WHERE {where}", common | params)
    which = part(wanted.page, total["n"], ROWS)
    rows = run.rows(
        f"WITH {WHO} SELECT *, "
        "(SELECT count(*) FROM looped AS l WHERE l.example_id = questions.example_id) AS n_looping "
        f"FROM questions WHERE {where} ORDER BY {SORTS[wanted.sort]} LIMIT {which.size} OFFSET {which.offset}",
        common | params,
    )
    texts = fetch_replies(
        run.shards,
        [(str(r["base_shard"]), BASE_ID, wanted.split, str(r["example_id"])) for r in rows if r["base_shard"]],
        2000,
    )
    votes = _votes(run, common, [str(row["example_id"]) for row in rows])
    sizes = {
        str(row["split"]): row["n"] for row in run.rows("SELECT split, count(*) AS n FROM examples GROUP BY split")
    }
    lines = []
    for row in rows:
        text = texts.get((BASE_ID, str(row["example_id"])))
        found = votes.get(str(row["example_id"]), ())
        lines.append(ExampleLine(row, snippet(text.text) if text else "", found, row.pop("n_looping")))
    return ExamplesPage(
        wanted,
        tuple(lines),
        which,
        {("" if name == "all" else name): n for name, n in counts.items()},
        {split: sizes[split] for split in SPLITS if split in sizes},
        bool(common["is_finished"]),
        run.share_read,
    )


def examples_rows(run: OpenRun, wanted: Wanted) -> pl.DataFrame:
    """Return all chosen questions: the columns of ``questions``."""
    where, params = chosen(wanted)
    sql = f"WITH {WHO} SELECT * EXCLUDE (base_shard) FROM questions WHERE {where} ORDER BY {SORTS[wanted.sort]}"
    return run.reader.query(sql, common_parameters(run, wanted) | params)


def _votes(run: OpenRun, common: dict[str, object], ids: list[str]) -> dict[str, tuple[Votes, ...]]:
    """Count the answers to some questions of those that answer beside the base."""
    rows = run.reader.query(
        f"WITH {WHO} SELECT example_id, answer, count(*) AS n, bool_or(correct) AS correct FROM scores "
        "JOIN who USING (candidate_id) WHERE split = $split AND list_contains($ids, example_id) "
        "GROUP BY example_id, answer ORDER BY answer IS NULL, n DESC, min(rank)",
        common | {"ids": ids},
    )
    found: dict[str, tuple[Votes, ...]] = {}
    for example, answer, n, correct in rows.iter_rows():
        found[example] = (*found.get(example, ()), Votes(answer, n, correct))
    return found
