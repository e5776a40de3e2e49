"""A verifier for the answers of a file: an extraction and a comparison, both pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

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
        extract_all: `extract` of many texts at once, where that is faster; None: one after the other.
        gold: The canonical gold answer of an example; ``None`` if this verifier cannot judge it or one of its aliases.
        gold_rule: Condition on a gold answer, for the error message.
        judge: Scores a canonical answer, 0 to ``FULL``; None: it must be the same string as an accepted one.
        right_at: The score from which on an answer is right.
        named: The answers that a text names, if ``lenient_match`` would not find them.
        uses_columns: Whether it looks at other columns of the data, in an example's metadata.
        span: Where in a text its answer stands (start and end), to be shown; None: cannot be told.
        n_options: How many answers a question lists, of which exactly one is right; None: it lists none.
        metric: Name of the similarity by which the answer that is closest to all others wins the vote
            (`thickets.tasks.verifiers.texts.PAIRS`); None: the most frequent answer wins.
        details: Other values that change an extraction or a verdict, for the fingerprint.
    """

    name: str
    instruction: str
    max_tokens: int
    extract: Callable[[str, Example], str | None]
    gold: Callable[[Example], str | None]
    gold_rule: str
    extract_all: Callable[[Sequence[str], Sequence[Example]], list[str | None]] | None = None
    judge: Callable[[str, Example], int] | None = None
    right_at: int = FULL
    named: Callable[[str], set[str]] | None = None
    uses_columns: bool = False
    span: Callable[[str, Example], tuple[int, int] | None] | None = None
    n_options: Callable[[Example], int | None] = lambda example: None
    metric: str | None = None
    details: dict[str, JSON] = field(default_factory=dict)

    def score(self, answer: str, example: Example) -> int:
        """Return the score of a canonical answer, from 0 to ``FULL``."""
        if self.judge:
            return self.judge(answer, example)
        return FULL * (answer == self.gold(example) or answer in self._aliases(example))

    def accepts(self, answer: str | None, example: Example) -> bool:
        """Return whether a canonical answer is right."""
        return answer is not None and self.score(answer, example) >= self.right_at

    def lenient(self, text: str, example: Example) -> bool | None:
        """Return whether a text names the gold answer; ``None`` if it names others too, or there is a `judge`."""
        if self.judge is not None:
            return None
        accepted = {gold for gold in (self.gold(example), *self._aliases(example)) if gold is not None}
        if not accepted:
            return None
        if self.named is None:
            found = [lenient_match(text, gold, example.question) for gold in accepted]
            return True if True in found else None if None in found else False
        named = self.named(text)
        return (True if named <= accepted else None) if named & accepted else False

    def _aliases(self, example: Example) -> list[str | None]:
        """Return the canonical forms of the other accepted answers."""
        metadata = {name: value for name, value in example.metadata.items() if name != "aliases"}
        return [self.gold(replace(example, answer=alias, metadata=metadata)) for alias in example.accepted[1:]]


def gold_of_all(read: Callable[[str, Example], str | None]) -> Callable[[Example], str | None]:
    """Make ``Verifier.gold`` of a function that reads one accepted answer: all of them must be readable."""

    def gold(example: Example) -> str | None:
        first, *others = [read(text, example) for text in example.accepted]
        return None if None in others else first

    return gold
