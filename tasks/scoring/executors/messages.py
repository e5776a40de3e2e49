"""The messages between an engine's own process and the process that started it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from thickets.storage.errors import ThicketsError
from thickets.tasks.scoring.executors.log_lines import LogLine
from thickets.tasks.scoring.units import Shard, ShardReport, UnitReport


@dataclass(frozen=True, slots=True)
class Ask:
    """In: score a shard; answers carry its number."""

    number: int
    shard: Shard


@dataclass(frozen=True, slots=True)
class Ready:
    """Out: the engine is built."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Out: a unit was generated; a sign of life."""


@dataclass(frozen=True, slots=True)
class UnitDone:
    """Out: a unit of a finished shard."""

    number: int
    report: UnitReport


@dataclass(frozen=True, slots=True)
class ShardDone:
    """Out: a shard's file is written."""

    number: int
    report: ShardReport


@dataclass(frozen=True, slots=True)
class Failed:
    """Out: a shard failed, or (number None) the engine could not be built.

    Attributes:
        number: Of the shard.
        error: One of our own errors, as it is.
        what: Name and message of any other error, whose class the other process may lack.
        where: Its traceback.
    """

    number: int | None
    error: ThicketsError | None
    what: str = ""
    where: str = ""

    @classmethod
    def by(cls, number: int | None, error: BaseException) -> Failed:
        """Make the message for an error."""
        if isinstance(error, ThicketsError):
            return cls(number, error)
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return cls(number, None, what, "".join(traceback.format_exception(error)))


Message = Ready | Generated | LogLine | UnitDone | ShardDone | Failed
