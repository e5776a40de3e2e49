"""What one part of `benchmarks.gpu` saw, row by row, in a file that outlives the part's process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["right", "WRONG", ""]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        part: The part that saw it.
        what: What was looked at.
        found: A figure with its unit, or words.
        expected: What it is compared with; empty: with nothing.
        verdict: ``right`` or ``WRONG`` where there is a right answer.
    """

    part: str
    what: str
    found: str
    expected: str = ""
    verdict: Verdict = ""


class Seen:
    """Appends rows to a file as soon as they are known, so that a part that is stopped has not looked in vain."""

    def __init__(self, part: str, file: Path) -> None:
        self._part, self._file = part, file

    def note(self, what: str, found: str, expected: str = "") -> None:
        """Add a figure that nothing is wrong with, whatever it is."""
        self._add(Row(self._part, what, found, expected))

    def check(self, what: str, right: bool, found: str, expected: str = "") -> None:
        """Add what must be so, and say whether it is."""
        self._add(Row(self._part, what, found, expected, "right" if right else "WRONG"))

    def _add(self, row: Row) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")


def read_rows(file: Path) -> list[Row]:
    """Return the whole rows of a part's file; it may have been killed in the middle of one."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    return [Row(**json.loads(line)) for line in lines]


def table(rows: Sequence[Row]) -> str:
    """Lay rows out in columns, a part's name in its first row only."""
    cells = [("part", "what", "found", "expected", "")]
    previous = ""
    for row in rows:
        cells.append(("" if row.part == previous else row.part, row.what, row.found, row.expected, row.verdict))
        previous = row.part
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
