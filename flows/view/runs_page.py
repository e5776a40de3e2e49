"""The page of all runs: one line each, sorted and filtered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from thickets.flows.results.runs import RunRow, run_folders, run_row
from thickets.flows.results.stored import stored_summary
from thickets.flows.view.listing import Part, part
from thickets.flows.view.rows import spread, spread_schema
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.tasks.results.intervals import Accuracy, Difference
from thickets.tasks.results.text import amount

SORTS = ("date", "name", "state", "problem", "model", "base", "vote", "gain", "cost")


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run.

    Attributes:
        row: As `thickets runs` has it.
        base: On the test split; None until the run is finished.
        vote: The same of the vote.
        gain: Vote minus base.
        cost: Tokens of the whole run until its ensemble was found; None where they were not counted.
    """

    row: RunRow
    base: Accuracy | None = None
    vote: Accuracy | None = None
    gain: Difference | None = None
    cost: int | None = None

    @property
    def name(self) -> str:
        """What people call it, or its id."""
        return self.row.called or self.row.run_id

    @property
    def cost_text(self) -> str:
        """The cost in words."""
        return "" if self.cost is None else amount(self.cost)


@dataclass(frozen=True, slots=True)
class RunsPage:
    """The lines that are shown.

    Attributes:
        lines: Of this page.
        part: Which they are.
        n_all: Runs of the home, whatever the filter.
        sort: One of `SORTS`; with ``-`` before it the other way round.
        q: What is looked for.
        state: The state of the runs that are shown; empty: all.
        states: How many runs are in each state.
    """

    lines: tuple[RunLine, ...]
    part: Part
    n_all: int
    sort: str
    q: str
    state: str
    states: dict[str, int]


class RunLines:
    """Reads the lines of a home; a run is read again only when a file of it has changed."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._known: dict[str, tuple[object, RunLine]] = {}
        self._lock = threading.Lock()

    def page(self, q: str = "", state: str = "", sort: str = "date", page: int = 1) -> RunsPage:
        """Return a page of the runs that hold `q` in name, model or problem, and are in that state."""
        every = self.lines()
        states: dict[str, int] = {}
        for line in every:
            states[line.row.state] = states.get(line.row.state, 0) + 1
        found = _chosen(every, q, state, sort)
        which = part(page, len(found))
        return RunsPage(tuple(found[which.offset : which.last]), which, len(every), sort, q, state, states)

    def rows(self, q: str = "", state: str = "", sort: str = "date") -> pl.DataFrame:
        """Return all runs that fit as a table."""
        return pl.DataFrame([_row(line) for line in _chosen(self.lines(), q, state, sort)], schema=_COLUMNS)

    def lines(self) -> list[RunLine]:
        """Return every run, the latest first."""
        folders = run_folders(self._home)
        with self._lock:
            found = [self._line(folder) for folder in folders]
            self._known = {name: self._known[name] for name in (folder.run_id for folder in folders)}
        return sorted(found, key=lambda line: (-line.row.date.timestamp(), line.row.run_id))

    def _line(self, folder: RunFolder) -> RunLine:
        version = (_stamps(folder), self._home.is_locked(folder.run_id))
        known = self._known.get(folder.run_id)
        if known is not None and known[0] == version:
            return known[1]
        line = _read(self._home, folder)
        self._known[folder.run_id] = version, line
        return line


_COLUMNS = pl.Schema(
    {
        "run_id": pl.String(),
        "name": pl.String(),
        "state": pl.String(),
        "problem": pl.String(),
        "model": pl.String(),
        "n_candidates": pl.Int64(),
        "n_experts": pl.Int64(),
        **spread_schema("base"),
        **spread_schema("vote"),
        **spread_schema("over_base"),
        "tokens_to_get": pl.Int64(),
        "begun": pl.Datetime("us", "UTC"),
    }
)


def _row(line: RunLine) -> dict[str, object]:
    row = line.row
    return {
        "run_id": row.run_id,
        "name": row.called,
        "state": row.state,
        "problem": row.problem,
        "model": row.model,
        "n_candidates": row.n_candidates,
        "n_experts": row.k,
        **spread("base", line.base),
        **spread("vote", line.vote),
        **spread("over_base", line.gain),
        "tokens_to_get": line.cost,
        "begun": row.date,
    }


def _chosen(every: list[RunLine], q: str, state: str, sort: str) -> list[RunLine]:
    if sort.removeprefix("-") not in SORTS:
        raise InputError(f"sort: found {sort!r}; allowed are {', '.join(SORTS)}, with - before it the other way")
    found = [line for line in every if (not state or line.row.state == state) and _has(line, q)]
    return sorted(found, key=_KEYS[sort.removeprefix("-")], reverse=sort.startswith("-"))


def _read(home: Home, folder: RunFolder) -> RunLine:
    row = run_row(home, folder)
    try:
        summary = stored_summary(folder) if folder.summary.is_file() else None
    except InputError:
        summary = None
    if summary is None:
        return RunLine(row)
    found = summary.evaluation
    cost = None if summary.full_cost is None else summary.full_cost.search.n_tokens
    return RunLine(row, found.base, found.ensemble, found.ensemble_minus_base, cost)


def _stamps(folder: RunFolder) -> object:
    watched = (folder.config, folder.summary, folder.begun, folder.refused, folder.called)
    found: list[tuple[int, int] | None] = []
    for path in watched:
        try:
            stat = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _has(line: RunLine, q: str) -> bool:
    text = f"{line.name} {line.row.run_id} {line.row.model} {line.row.problem}".lower()
    return all(word in text for word in q.lower().split())


_KEYS: dict[str, Callable[[RunLine], tuple[float, str]]] = {
    "date": lambda line: (-line.row.date.timestamp(), line.row.run_id),
    "name": lambda line: (0, line.name),
    "state": lambda line: (0, line.row.state),
    "problem": lambda line: (0, line.row.problem),
    "model": lambda line: (0, line.row.model),
    "base": lambda line: (-line.base.value if line.base else 1, line.name),
    "vote": lambda line: (-line.vote.value if line.vote else 1, line.name),
    "gain": lambda line: (-line.gain.value if line.gain else 2, line.name),
    "cost": lambda line: (-line.cost if line.cost is not None else 1, line.name),
}
