"""What the pages with tables share: a part of the rows at a time, and the state of a page as its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

ROWS = 50
"""Rows of a table on one page."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a table that a page shows.

    Attributes:
        page: From 1.
        n_rows: Of the whole table.
        size: Rows of a page.
    """

    page: int
    n_rows: int
    size: int = ROWS

    @property
    def n_pages(self) -> int:
        """Pages of the whole table, at least one."""
        return max(1, -(-self.n_rows // self.size))

    @property
    def offset(self) -> int:
        """Rows before the first one shown."""
        return (self.page - 1) * self.size

    @property
    def first(self) -> int:
        """Number of the first row shown, from 1; 0 where there is none."""
        return min(self.offset + 1, self.n_rows)

    @property
    def last(self) -> int:
        """Number of the last row shown."""
        return min(self.offset + self.size, self.n_rows)


def part(page: int, n_rows: int, size: int = ROWS) -> Part:
    """Return the page of that number, or the last one there is."""
    found = Part(max(page, 1), n_rows, size)
    return found if found.page <= found.n_pages else Part(found.n_pages, n_rows, size)


def query_string(values: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """Write the state of a page for its address, without what is as ever: ``?show=broken&page=2``, or nothing."""
    told = {name: value for name, value in values.items() if value not in (None, "") and value != defaults.get(name)}
    return f"?{urlencode(told)}" if told else ""
