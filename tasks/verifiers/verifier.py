"""A verifier for the answers of a file: an extraction and a comparison, both pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from thickets.tasks.types import FULL, JSON, Example
from thickets.tasks.verifiers.lenient import lenient_match


@dataclass(frozen=True)
class Verifier:
    """An extraction and a comparison.

    Attributes:
        name: As written in the config.
        instruction: Prompt template that asks for answers of this kind.
        max_tokens: Default length of a completion.
        extract: The canonical answer in a text, which is its vote; ``None`` is an abstention.
        gold: The canonical gold answer of an example; ``None`` if this verifier cannot judge it.
        gold_rule: Condition on a gold answer, for the error message.
        judge: Scores a canonical answer, 0 to ``FULL``; None: it must be the same string as the gold one.
        right_at: The score from which on an answer is right.
        named: The answers that a text names, if ``lenient_match`` would not find them.
        uses_columns: Whether it looks at other columns of the data, in an example's metadata.
        span: Where in a text its answer stands (start and end), to be shown; None: cannot be told.
        details: Other values that change an extraction or a verdict, for the fingerprint.
    """

    name: str
    instruction: str
    max_tokens: int
    extract: Callable[[str, Example], str | None]
    gold: Callable[[Example], str | None]
    gold_rule: str
    judge: Callable[[str, Example], int] | None = None
    right_at: int = FULL
    named: Callable[[str], set[str]] | None = None
    uses_columns: bool = False
    span: Callable[[str, Example], tuple[int, int] | None] | None = None
    details: dict[str, JSON] = field(default_factory=dict)

    def score(self, answer: str, example: Example) -> int:
        """Return the score of a canonical answer, from 0 to ``FULL``."""
        return self.judge(answer, example) if self.judge else FULL * (answer == self.gold(example))

    def accepts(self, answer: str | None, example: Example) -> bool:
        """Return whether a canonical answer is right."""
        return answer is not None and self.score(answer, example) >= self.right_at

    def lenient(self, text: str, example: Example) -> bool | None:
        """Return whether a text names the gold answer; ``None`` if it names others too, or there is a `judge`."""
        gold = self.gold(example)
        if self.judge is not None or gold is None:
            return None
        if self.named is None:
            return lenient_match(text, gold, example.question)
        found = self.named(text)
        return (True if found == {gold} else None) if gold in found else False
