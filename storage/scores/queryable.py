"""What holds one run's scores and answers SQL: the base of the named queries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import polars as pl

from thickets.storage.scores.sql import Params

COMMON = "s.block < coalesce((SELECT n_blocks FROM race WHERE run_id = $run_id AND split = $split), 4294967296)"
"""True of the rows `s` about questions that every candidate answered; the number is beyond every block."""


class Queryable(ABC):
    """One run's scores.

    Attributes:
        run_id: The run whose scores are read.
    """

    run_id: str

    @abstractmethod
    def query(self, sql: str, params: Params = ()) -> pl.DataFrame:
        """Run one query against the tables and views of ``schema.sql``, and ``completions``.

        Raises:
            InputError: The SQL is wrong, is not exactly one statement, or would write; the message is one line.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the database."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
