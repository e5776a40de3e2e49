"""Signals: continue a one-dimensional wave; for the networks of the signals engine.

Sample (family=small_sinusoid, horizon=12), read 16 values and give the value 12 samples later:

    question: -0.40 -0.25 -0.05 0.15 0.30 0.45 0.50 0.50 0.40 0.25 0.05 -0.15 -0.35 -0.45 -0.50 -0.45
    gold:     -0.35 -0.20 0.00 0.20 0.35 0.45 0.50 0.45 0.35 0.20 0.00 -0.20   (votes -0.2; -0.3 and -0.1 are right too)

The whole continuation is written out, as a language model writes its steps, and its last value is the answer: rounded
down to a tenth, so that experts can agree on it, and right if it is at most 0.1 from the gold answer rounded likewise.

Source: the signal experiment of Gan & Isola 2026, which scores the squared error of a regressed continuation.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from thickets.storage.errors import InputError
from thickets.tasks.problems.base import Option, Replies, prompt
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.kind import Kind
from thickets.tasks.problems.options import whole_number, with_defaults
from thickets.tasks.signals.families import FAMILIES, TARGET, draw
from thickets.tasks.signals.values import find, tenth, to_levels, write
from thickets.tasks.types import FULL, JSON, Example, Message, Sampling, question_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

CONTEXT = 16
_VERSION = 1
_LONGEST = 100
OPTIONS = (
    Option("family", TARGET, f"Kind of wave: {', '.join(FAMILIES)}."),
    Option("horizon", 12, f"Samples from the last value of the question to the one that counts, 1 to {_LONGEST}."),
)
_TOLERANCE = 1  # tenths
# Most draws per distinct question. A family with hundreds of waves needs more than one only near the end of them.
_DRAWS_PER_QUESTION = 20


class Signals:
    """Give the value of a wave a number of samples after its last one.

    Raises:
        InputError: An option is unknown or out of range.
    """

    name = "signals"
    summary = "Generated: continue a one-dimensional wave. For the models signals-needle, -thicket and -plateau."

    right_at = FULL

    def __init__(self, config: ProblemConfig) -> None:
        options = with_defaults(self.name, OPTIONS, config.options)
        self._family, self._horizon = options["family"], whole_number(options, "horizon", 1, _LONGEST)
        if not isinstance(self._family, str) or self._family not in FAMILIES:
            raise InputError(f"problem.options.family is {self._family!r}; allowed are {', '.join(FAMILIES)}")
        self._instruction = config.instruction or "{question}"
        self._system = config.system
        self.sampling = Sampling(max_tokens=self._horizon)

    def identity(self) -> dict[str, JSON]:
        """Return the options and the template; every value follows from them and the seed."""
        return {
            "name": self.name,
            "version": _VERSION,
            "family": self._family,
            "context": CONTEXT,
            "horizon": self._horizon,
            "instruction": self._instruction,
            "system": self._system,
        }

    def judgement(self) -> dict[str, JSON]:
        """Return the version of the rules, and which value is judged."""
        return {"name": self.name, "version": _VERSION, "horizon": self._horizon}

    def examples(self, count: int, seed: int) -> list[Example]:
        """Make ``count`` distinct questions; a larger count starts with the questions of a smaller one.

        Raises:
            InputError: The family does not make so many distinct questions.
        """
        # Not the key of any pretraining; see tasks/signals/pretraining.py.
        key = hashlib.blake2b(f"thickets signals problem 1:{self._family}:{seed}".encode(), digest_size=8).digest()
        made: dict[str, Example] = {}
        for step in range(_DRAWS_PER_QUESTION):
            if len(made) >= count:
                break
            signals = draw([self._family], int.from_bytes(key, "little"), step * count, count, CONTEXT + self._horizon)
            for levels in to_levels(signals):
                question = write(levels[:CONTEXT])
                made.setdefault(question, Example(question_id(question), question, write(levels[CONTEXT:])))
        if len(made) < count:
            raise InputError(
                f"problem.options.family {self._family!r} makes only about {len(made)} distinct questions, {count} are "
                "needed; ask for fewer or choose another family"
            )
        return list(made.values())[:count]

    def test_examples(self) -> None:
        """Return None: questions are generated, so any of them can be held out."""
        return

    def messages(self, example: Example) -> list[Message]:
        """Return the values in the template, which by default adds nothing to them."""
        return prompt(self._instruction, self._system, example.question)

    def extract(self, text: str, example: Example) -> str | None:
        """Return the value at the horizon, rounded down to a tenth; a reply with fewer values abstains."""
        levels = find(text)
        return _written(tenth(levels[self._horizon - 1])) if len(levels) >= self._horizon else None

    def score(self, answer: str, example: Example) -> int:
        """Return full marks for an answer that is at most a tenth away from the gold answer, rounded likewise."""
        gold = tenth(find(example.answer)[-1])
        return FULL * (abs(round(10 * float(answer)) - gold) <= _TOLERANCE)

    def lenient(self, text: str, example: Example) -> bool | None:
        """Return False: a wrong value is wrong in any form; ``None`` for a reply with too few values."""
        return None if self.extract(text, example) is None else False

    def figure(self, replies: Sequence[Replies]) -> Figure:
        """Draw the signals with their continuations; see `thickets.tasks.problems.signals_figure`."""
        from thickets.tasks.problems.signals_figure import signal_predictions

        return signal_predictions(replies)


def _written(tenths: int) -> str:
    return f"{tenths / 10:.1f}"


KIND = Kind(
    name=Signals.name,
    summary=Signals.summary,
    make=Signals,
    origin="our own, after the paper's",
    fields=("options",),
    options=lambda: OPTIONS,
)
