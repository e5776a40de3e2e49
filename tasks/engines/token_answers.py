"""Answers as token ids, which is all that an engine's thread makes; whoever needs their text makes it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thickets.tasks.engines.stops import StopChecker
from thickets.tasks.types import Completion


@dataclass(frozen=True, slots=True)
class TokenAnswers:
    """The answers to some prompts, in their order.

    Attributes:
        rows: Token ids of each, the end-of-sequence token included; at least one.
        checker: Knows the tokenizer, and where an answer ends. It outlives the engine.
    """

    rows: Sequence[list[int]]
    checker: StopChecker

    def completions(self) -> list[Completion]:
        """Decode every answer; on any thread, also while the engine generates."""
        found = []
        for tokens in self.rows:
            text, ended = self.checker.text(tokens)
            found.append(Completion(text, len(tokens), "stop" if ended else "length"))
        return found
