"""The last number of a reply, by value."""

from __future__ import annotations

from thickets.tasks.verifiers.text import canonical_number, last_number, numbers
from thickets.tasks.verifiers.verifier import Verifier


def _one_number(text: str) -> str | None:
    # "1/2" and "3 or 4" are not one number; taking the last of them would mark wrong answers right.
    found = numbers(text)
    return canonical_number(found[0]) if len(found) == 1 else None


NUMERIC = Verifier(
    name="numeric",
    instruction="{question}\n\nThink step by step, then give the final number on the last line.",
    max_tokens=256,
    extract=lambda text, _: last_number(text),
    gold=lambda example: _one_number(example.answer),
    gold_rule="it must hold exactly one number",
)
"""The last number of the reply, by value."""
