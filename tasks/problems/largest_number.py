"""Largest number: a generated problem that a model of 135 M parameters half solves, so a whole run takes minutes.

Sample (count=3, below=1000):

    user:      Which is the largest number: 164, 341 or 27? Reply with just the number.
    assistant: 341

Source: our own. Kept trivial on purpose: it shows the machinery, not the method's strength.
"""

from __future__ import annotations

import hashlib
import math

from thickets.storage.errors import InputError
from thickets.tasks.problems.base import Option, prompt
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.configured import make_verifier
from thickets.tasks.problems.kind import VERIFIER_FIELDS, Kind
from thickets.tasks.problems.options import whole_number, with_defaults
from thickets.tasks.types import JSON, Example, Message, Sampling, question_id
from thickets.tasks.verifiers import NUMERIC

INSTRUCTION = "{question} Reply with just the number."
_VERSION = 2
OPTIONS = (
    Option("count", 3, "Numbers in a question, at least 2."),
    Option("below", 1000, "Whole numbers from 0 up to this one, itself left out, are asked about."),
)


class LargestNumber:
    """Name the largest of a few distinct whole numbers; a reply is read as by ``verifier: numeric`` or another.

    Raises:
        InputError: An option is unknown or out of range.
    """

    name = "largest_number"
    summary = "Generated: which of a few numbers is the largest? Minutes on a small model."
    sampling = Sampling(max_tokens=12)

    def __init__(self, config: ProblemConfig) -> None:
        self._instruction = config.instruction or INSTRUCTION
        self._system = config.system
        options = with_defaults(self.name, OPTIONS, config.options)
        self._count = whole_number(options, "count", 2)
        self._below = whole_number(options, "below", self._count)
        self._verifier = NUMERIC if config.verifier is None else make_verifier(config)
        self.right_at = self._verifier.right_at

    @property
    def instruction(self) -> str:
        """The template in use."""
        return self._instruction

    def identity(self) -> dict[str, JSON]:
        """Return the options and the template; every number follows from them and the seed."""
        return {
            **self.judgement(),
            "count": self._count,
            "below": self._below,
            "instruction": self._instruction,
            "system": self._system,
        }

    def judgement(self) -> dict[str, JSON]:
        """Return the verifier."""
        return {
            "name": self.name,
            "version": _VERSION,
            "verifier": self._verifier.name,
            **self._verifier.details,
        }

    def examples(self, count: int, seed: int) -> list[Example]:
        """Make ``count`` distinct questions; a larger count starts with the questions of a smaller one.

        Raises:
            InputError: The options do not make so many distinct questions, or the verifier cannot judge them.
        """
        # A question is one of the ordered choices of distinct numbers, so its rank among them is all there is to draw.
        available = math.perm(self._below, self._count)
        if count > available:
            raise InputError(
                f"problem.options count={self._count}, below={self._below} make only {available} distinct questions, "
                f"{count} are needed: {count - available} are missing; raise problem.options.below"
            )
        ranks: dict[int, None] = {}  # a set that keeps its order
        step = 0
        while len(ranks) < count:
            if step < 8 * count:
                ranks[_hash(seed, step) % available] = None
                step += 1
            else:
                # Nearly every question is taken (drawing would take ever longer): shuffle what is left of the few.
                left = sorted(set(range(available)) - set(ranks), key=lambda rank: _hash(seed, ~rank))
                ranks.update(dict.fromkeys(left[: count - len(ranks)]))
        examples = [self._example(rank) for rank in ranks]
        if any(not self._verifier.accepts(self._verifier.gold(each), each) for each in examples):
            raise InputError(
                f"problem.verifier is {self._verifier.name!r}, which does not find the right numbers right: "
                f"{self._verifier.gold_rule}"
            )
        return examples

    def test_examples(self) -> None:
        """Return None: questions are generated, so any of them can be held out."""
        return

    def messages(self, example: Example) -> list[Message]:
        """Return the question in the template."""
        return prompt(self._instruction, self._system, example.question)

    def extract(self, text: str, example: Example) -> str | None:
        """Return the number that the reply marks, else its last one: models tend to repeat the list first."""
        return self._verifier.extract(text, example)

    def score(self, answer: str, example: Example) -> int:
        """Return full marks for the largest number."""
        return self._verifier.score(answer, example)

    def lenient(self, text: str, example: Example) -> bool | None:
        """Return whether the reply names the largest of the question's numbers; ``None`` if it names others too."""
        return self._verifier.lenient(text, example)

    def gold(self, example: Example) -> str | None:
        """See `thickets.tasks.problems.base.HasGold`."""
        return self._verifier.gold(example)

    def span(self, text: str, example: Example) -> tuple[int, int] | None:
        """See `thickets.tasks.problems.base.HasSpan`."""
        return None if self._verifier.span is None else self._verifier.span(text, example)

    def n_options(self, example: Example) -> int:
        """Return how many numbers the question lists."""
        return self._count

    def _example(self, rank: int) -> Example:
        numbers: list[int] = []
        for taken in range(self._count):
            rank, number = divmod(rank, self._below - taken)
            # The number-th of those not taken yet: each smaller one that is taken moves it up by one.
            for other in sorted(numbers):
                number += number >= other
            numbers.append(number)
        question = f"Which is the largest number: {', '.join(map(str, numbers[:-1]))} or {numbers[-1]}?"
        return Example(id=question_id(question), question=question, answer=str(max(numbers)))


def _hash(seed: int, step: int) -> int:
    # Not random.Random: which questions a seed makes must not depend on the Python version.
    return int.from_bytes(hashlib.blake2b(f"largest_number:{seed}:{step}".encode(), digest_size=16).digest())


KIND = Kind(
    name=LargestNumber.name,
    summary=LargestNumber.summary,
    make=LargestNumber,
    origin="our own questions",
    fields=("options", *VERIFIER_FIELDS),
    default_verifier="numeric",
    options=lambda: OPTIONS,
)
