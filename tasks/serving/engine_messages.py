"""The messages between a served engine's own process and the process that serves."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from thickets.storage.errors import ThicketsError
from thickets.tasks.types import Completion, Prompt, Sampling, Weights


@dataclass(frozen=True, slots=True)
class Generate:
    """In: load weights and answer prompts.

    Attributes:
        weights: None is the base.
        upcoming: Weights to be made meanwhile; None: none.
        prompts: As the engine takes them.
        sampling: How to decode.
    """

    weights: Weights | None
    upcoming: Weights | None
    prompts: tuple[Prompt, ...]
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Built:
    """Out: the engine is ready."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Out: the completions, in the order of the prompts."""

    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Out: the engine could not be built, or failed at a request.

    Attributes:
        error: One of our own errors, as it is; None of any other, whose class the other process may lack.
        what: Name and message of the error.
        where: Its traceback.
    """

    error: ThicketsError | None
    what: str
    where: str

    @classmethod
    def by(cls, error: BaseException) -> Failed:
        """Make the message for an error."""
        own = error if isinstance(error, ThicketsError) else None
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return cls(own, what, "".join(traceback.format_exception(error)))


Reply = Built | Generated | Failed
