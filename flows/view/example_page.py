"""The page of one question: all replies, grouped by answer, each with its extracted part and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from thickets.flows.results.stored import stored_summary
from thickets.flows.view.examples_page import SORTS, WHO, Wanted, chosen, common_parameters
from thickets.flows.view.images import image_file
from thickets.flows.view.judged import Explainer
from thickets.flows.view.listing import Part, part
from thickets.flows.view.opened import OpenRun
from thickets.flows.view.replies import Written, fetch_replies
from thickets.flows.view.reply_text import MOST_SHOWN, Piece, pieces
from thickets.storage.errors import InputError
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.problems.judging import Verdict
from thickets.tasks.types import Example

REPLIES = 20
"""Replies on one page."""


@dataclass(frozen=True, slots=True)
class ShownReply:
    """A reply and its verdict.

    Attributes:
        who: ``base``, ``expert 3`` or ``candidate 17``.
        candidate_id: Whose it is.
        sigma: Of a candidate.
        pieces: What is shown of it; None where the completion is not on this machine.
        is_cut: Whether there is more of it.
        why: The verdict and its reason, in a line.
    """

    who: str
    candidate_id: str
    sigma: float | None
    answer: str | None
    is_right: bool
    n_tokens: int
    is_cut_off: bool
    is_looping: bool
    pieces: tuple[Piece, ...] | None
    is_cut: bool
    why: str


@dataclass(frozen=True, slots=True)
class Group:
    """Those that gave one answer.

    Attributes:
        place: From 1.
        share: Of all votes, by the run's rule; None where nothing is voted on.
        replies: Those of this page.
    """

    place: int
    answer: str | None
    n: int
    is_right: bool
    share: float | None
    is_winner: bool
    replies: tuple[ShownReply, ...]


@dataclass(frozen=True, slots=True)
class ExamplePage:
    """One question.

    Attributes:
        row: Its row of the table ``questions``.
        prompt: As the base is given it; None where it was not recorded.
        image: What the data calls the image that is asked about; None: there is none.
        has_image: Whether it lies beside the data still.
        metric: The similarity by which the closest text wins; None: votes are counted.
        number: Its place among the chosen questions, from 1; None where the filter leaves it out.
        n_chosen: The chosen questions.
        previous: Id of the one before it.
        next: Id of the one behind it.
        pinned: The reply of a candidate that was asked for.
    """

    wanted: Wanted
    row: dict[str, Any]
    prompt: str | None
    image: str | None
    has_image: bool
    metric: str | None
    number: int | None
    n_chosen: int
    previous: str | None
    next: str | None
    base: ShownReply | None
    pinned: ShownReply | None
    groups: tuple[Group, ...]
    part: Part


def example_page(
    run: OpenRun, rules: Explainer, wanted: Wanted, example_id: str, who: str = "", page: int = 1
) -> ExamplePage:
    """Return the page of a question.

    Args:
        run: Open.
        rules: The run's.
        wanted: The questions among which it is walked to.
        example_id: The question.
        who: A candidate whose reply comes first; empty: none.
        page: Which of the replies, from 1.

    Raises:
        InputError: The split has no such question.
    """
    common = common_parameters(run, wanted)
    mine = common | {"example": example_id}
    found = run.rows("SELECT * FROM questions WHERE split = $split AND example_id = $example", _only(mine))
    if not found:
        raise InputError(f"no question {example_id!r} in the {wanted.split} split of this run")
    row = found[0]
    example = Example(example_id, str(row["question"]), str(row["gold"]))
    where, params = chosen(wanted)
    walk = run.rows(
        f"WITH {WHO}, walk AS (SELECT example_id, row_number() OVER w AS number, lag(example_id) OVER w AS previous, "
        f"lead(example_id) OVER w AS next, count(*) OVER () AS n FROM questions WHERE {where} "
        f"WINDOW w AS (ORDER BY {SORTS[wanted.sort]})) SELECT * FROM walk "
        "WHERE example_id = $example",
        mine | params,
    )
    here: dict[str, Any] = walk[0] if walk else {"number": None, "previous": None, "next": None, "n": 0}
    groups, total = _groups(run, mine)
    which = part(page, total, REPLIES)
    rows = run.rows(_REPLIES + f" LIMIT {which.size} OFFSET {which.offset}", mine)
    first = run.rows(_OF_ONE, mine | {"who": BASE_ID})
    asked = run.rows(_OF_ONE, mine | {"who": who}) if who and who != BASE_ID else []
    keys = [(str(r["shard_id"]), str(r["candidate_id"]), wanted.split, example_id) for r in (*rows, *first, *asked)]
    texts = fetch_replies(run.shards, keys)

    def shown(reply: dict[str, Any]) -> ShownReply:
        return _shown(reply, texts.get((str(reply["candidate_id"]), example_id)), rules, example)

    by_answer: dict[str | None, list[ShownReply]] = {}
    for reply in rows:
        by_answer.setdefault(reply["answer"], []).append(shown(reply))
    prompt, image = _prompt(run, mine)
    summary = stored_summary(run.folder) if common["is_finished"] else None
    return ExamplePage(
        wanted,
        row,
        prompt,
        image,
        image is not None and image_file(run.folder, image) is not None,
        None if summary is None else summary.evaluation.metric,
        here["number"],
        here["n"],
        here["previous"],
        here["next"],
        shown(first[0]) if first else None,
        shown(asked[0]) if asked else None,
        tuple(_group(place, group, by_answer.get(group["answer"], [])) for place, group in enumerate(groups, start=1)),
        which,
    )


def answers_rows(run: OpenRun, wanted: Wanted, example_id: str) -> pl.DataFrame:
    """Return everybody's answer to a question and its verdict, the base first; replies are not in it."""
    mine = common_parameters(run, wanted) | {"example": example_id}
    sql = (
        f"WITH {WHO} SELECT * EXCLUDE (shard_id) FROM ({_REPLY} WHERE s.split = $split AND s.example_id = $example) "
        "WHERE candidate_id = 'base' OR candidate_id IN (SELECT candidate_id FROM who) "
        "ORDER BY candidate_id <> 'base', expert NULLS LAST, place NULLS LAST, candidate_id"
    )
    return run.reader.query(sql, mine)


# How many gave each answer, and the best rank among them.
_GROUPED = f"""
WITH {WHO},

grouped AS (
    SELECT answer, count(*) AS n, bool_or(correct) AS correct, min(rank) AS best
    FROM scores
    JOIN who USING (candidate_id)
    WHERE split = $split AND example_id = $example
    GROUP BY answer
)
"""
_REPLY = """
SELECT
    s.candidate_id, b.expert, b.place, b.sigma, s.answer, s.correct, s.score, s.n_tokens, s.finish_reason, s.shard_id,
    l.candidate_id IS NOT NULL AS is_looping
FROM scores AS s
JOIN board AS b ON b.candidate_id = s.candidate_id
LEFT JOIN looped AS l ON l.candidate_id = s.candidate_id AND l.example_id = s.example_id
"""
_OF_ONE = f"WITH {WHO} {_REPLY} WHERE s.split = $split AND s.example_id = $example AND s.candidate_id = $who"
_REPLIES = f"""
{_GROUPED} {_REPLY}
JOIN who AS w ON w.candidate_id = s.candidate_id
JOIN grouped AS g ON g.answer IS NOT DISTINCT FROM s.answer
WHERE s.split = $split AND s.example_id = $example
ORDER BY g.answer IS NULL, g.n DESC, g.best, w.rank, s.candidate_id
"""
_VOTED = "SELECT answer, share, wins FROM votes WHERE split = $split AND example_id = $example"


def _groups(run: OpenRun, mine: dict[str, object]) -> tuple[list[dict[str, Any]], int]:
    """Return the answers, the most frequent first, with what the vote made of them; and how many replies there are."""
    found: list[dict[str, Any]] = run.rows(
        f"{_GROUPED} SELECT answer, n, correct FROM grouped ORDER BY answer IS NULL, n DESC, best", mine
    )
    is_voted = mine["is_finished"] and mine["split"] != "selection"
    voted = {row["answer"]: row for row in run.rows(_VOTED, _only(mine))} if is_voted else {}
    for group in found:
        known = voted.get(group["answer"], {})
        group |= {"share": known.get("share"), "wins": known.get("wins") and group["answer"] is not None}
    return found, sum(group["n"] for group in found)


def _group(place: int, row: dict[str, Any], replies: list[ShownReply]) -> Group:
    is_winner = bool(row["wins"])
    return Group(place, row["answer"], row["n"], row["correct"], row["share"], is_winner, tuple(replies))


def question_image(run: OpenRun, split: str, example_id: str) -> Path | None:
    """Return where the image of a question lies; None where there is none."""
    _, name = _prompt(run, {"split": split, "example": example_id})
    return None if name is None else image_file(run.folder, name)


def _prompt(run: OpenRun, mine: dict[str, object]) -> tuple[str | None, str | None]:
    """Return a question's prompt and the name of its image."""
    if not run.folder.prompts.is_file():
        return None, None
    found = run.rows("SELECT prompt, image FROM prompts WHERE split = $split AND example_id = $example", _only(mine))
    return (found[0]["prompt"], found[0]["image"]) if found else (None, None)


def _only(values: dict[str, object]) -> dict[str, object]:
    """Return the parameters that name a question: DuckDB refuses those that a statement does not use."""
    return {name: values[name] for name in ("split", "example")}


def _shown(reply: dict[str, Any], written: Written | None, rules: Explainer, example: Example) -> ShownReply:
    text = "" if written is None else written.text
    found = Verdict(reply["answer"], reply["score"], reply["correct"])
    is_whole = written is not None and len(text) == written.n_characters
    span = rules.place(example, text, reply["answer"]) if is_whole else None
    return ShownReply(
        who_is(reply),
        reply["candidate_id"],
        reply["sigma"] if reply["candidate_id"] != BASE_ID else None,
        reply["answer"],
        reply["correct"],
        reply["n_tokens"],
        reply["finish_reason"] == "length",
        reply["is_looping"],
        None if written is None else tuple(pieces(text, span, written.n_characters)),
        written is not None and written.n_characters > MOST_SHOWN,
        rules.why(example, text, found) if written is not None else ("right" if reply["correct"] else "wrong"),
    )


def who_is(row: dict[str, Any]) -> str:
    """Name a respondent as people do: by its rank among the experts, or its place among the candidates."""
    if row["candidate_id"] == BASE_ID:
        return "base"
    if row["expert"] is not None:
        return f"expert {row['expert']}"
    return f"candidate {row['place']}" if row["place"] is not None else str(row["candidate_id"])
