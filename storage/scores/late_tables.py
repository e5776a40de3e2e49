"""Tables beside a run's scores that a reader makes when a query first names one: they are kept in no database."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import duckdb
import polars as pl

from thickets.storage.errors import InputError
from thickets.storage.scores.queries import ScoreQueries

# With these a query can name a table in a text.
_NAMES_IN_TEXT = ("query", "query_table")
_ABSENT = re.compile(r"Table with name (\w+) does not exist")


@dataclass(frozen=True)
class LateTable:
    """A table that is made from a run's scores and other files.

    Attributes:
        schema: Its columns.
        make: Makes it; raises an `InputError` if it cannot.
        why_absent: Why the run has none yet; empty if it has.
    """

    schema: pl.Schema
    make: Callable[[ScoreQueries], pl.DataFrame]
    why_absent: str = ""


class LateTables:
    """The late tables of one reader, by name.

    A table that can be made is there from the beginning, so that it is listed and described, and is filled before the
    first query that names it. One that cannot is not there, and the error of a query that needs it says why.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, LateTable]) -> None:
        """Show the tables, empty."""
        self._connection, self._tables = connection, tables
        self._why_absent = {name: table.why_absent for name, table in tables.items() if table.why_absent}
        self._empty = [name for name in tables if name not in self._why_absent]
        for name in self._empty:
            self._show(name, pl.DataFrame(schema=tables[name].schema))

    def fill(self, sql: str, scores: ScoreQueries) -> None:
        """Fill the tables that a query may name."""
        words = {*re.findall(r"\w+", sql.lower())}
        for name in [each for each in self._empty if each in words or not words.isdisjoint(_NAMES_IN_TEXT)]:
            self._empty.remove(name)  # first: what it is made from may have a column of its name
            try:
                frame = self._tables[name].make(scores)
            except InputError as error:  # the query may have meant something else by that word
                self._connection.unregister(name)
                self._why_absent[name] = str(error)
            else:
                self._show(name, frame)

    def explained(self, error: InputError) -> InputError:
        """Return an error about a query, or why a table is absent if it is that."""
        found = _ABSENT.search(str(error))
        why = self._why_absent.get(found[1].lower()) if found else None
        return error if why is None else InputError(f"SQL: {why}")

    def _show(self, name: str, frame: pl.DataFrame) -> None:
        schema = self._tables[name].schema
        self._connection.register(name, frame.select(pl.col(n).cast(dtype) for n, dtype in schema.items()).to_arrow())
