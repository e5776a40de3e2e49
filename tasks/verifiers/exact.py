"""The whole reply as answer."""

from __future__ import annotations

from thickets.tasks.verifiers.text import normalise
from thickets.tasks.verifiers.verifier import Verifier

EXACT = Verifier(
    name="exact",
    instruction="{question}\n\nReply with just the answer.",
    max_tokens=64,
    extract=lambda text, _: normalise(text),
    gold=lambda example: normalise(example.answer),
    gold_rule="it must hold more than punctuation",
)
"""The whole reply, but for case, white space and punctuation at the end."""
