"""Ready queries about a run, one file each: their first line, a comment, is the question that they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal, TypeAlias, get_args

from thickets.flows.results.stored import stored_summary, stored_values
from thickets.storage.errors import InputError
from thickets.storage.home import RunFolder

Kind: TypeAlias = Literal["likelihood", "texts"]
"""Kinds of runs that a query may say nothing about: labels chosen by their likelihood; answers that are texts."""

_NOT_FOR = "-- not for "


@dataclass(frozen=True)
class ReadyQuery:
    """A query by name.

    Attributes:
        name: Of the query and of its file.
        question: What it answers, in one line.
        sql: The statement, with its comments.
        not_for: Why it says nothing about some kinds of runs.
    """

    name: str
    question: str
    sql: str
    not_for: Mapping[Kind, str]


def ready_queries() -> dict[str, ReadyQuery]:
    """Return every ready query, by name, in the order of the names."""
    folder = resources.files("thickets.flows.results").joinpath("queries")
    files = sorted((each for each in folder.iterdir() if each.name.endswith(".sql")), key=lambda each: each.name)
    return {name: _read(name, each.read_text(encoding="utf-8")) for each in files if (name := each.name[:-4])}


def ready_query(name: str, folder: RunFolder) -> ReadyQuery:
    """Return a query by its name, for one run.

    Raises:
        InputError: There is none of that name, or it says nothing about a run like this; the message says why.
    """
    every = ready_queries()
    if (query := every.get(name)) is None:
        raise InputError(f"--named: found {name!r}; the ready queries are {', '.join(every)}")
    if (why := not_of(folder).get(name)) is not None:
        raise InputError(f"--named: {name} says nothing about {folder.run_id}: {why}")
    return query


def not_of(folder: RunFolder) -> dict[str, str]:
    """Return which ready queries say nothing about a run, by name, and why."""
    kinds = _kinds(folder)
    return {
        query.name: reason
        for query in ready_queries().values()
        for kind, reason in query.not_for.items()
        if kind in kinds
    }


def _read(name: str, text: str) -> ReadyQuery:
    first, *rest = text.splitlines()
    lines = (line.removeprefix(_NOT_FOR).partition(": ") for line in rest if line.startswith(_NOT_FOR))
    reasons = {kind: reason for kind, _, reason in lines}
    not_for = {kind: reasons[kind] for kind in get_args(Kind) if kind in reasons}
    return ReadyQuery(name, first.removeprefix("-- "), text, not_for)


def _kinds(folder: RunFolder) -> set[Kind]:
    """Return which of the kinds a run is; before its end, as far as its configuration says."""
    summary = stored_summary(folder) if folder.summary.is_file() else None
    found: set[Kind] = set()
    if summary is not None and summary.evaluation.metric is not None:
        found.add("texts")
    problem = stored_values(folder).get("problem")
    chooses = isinstance(problem, dict) and problem.get("scoring") == "loglikelihood"
    if chooses if summary is None else summary.by_likelihood:
        found.add("likelihood")
    return found
