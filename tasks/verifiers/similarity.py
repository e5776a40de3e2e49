"""Texts, judged by their similarity to a reference; ``problem.verifier: similarity``.

No two experts write the same text, so the whole reply is the answer, and the vote goes to the answer that is closest to
all others (`thickets.tasks.problems.consensus`).
"""

from __future__ import annotations

from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers.texts import SIMILARITY, words
from thickets.tasks.verifiers.verifier import Verifier, gold_of_all

_VERSION = 1


def similarity_verifier(metric: str, right_at: float) -> Verifier:
    """Make a verifier that compares a reply with its reference, or with the nearest of several.

    Args:
        metric: A name of `thickets.tasks.verifiers.texts.SIMILARITY`.
        right_at: Similarity from which on an answer is right, up to 1. Candidates are ranked by the mean similarity.
    """
    similarity, threshold = SIMILARITY[metric], round(FULL * right_at)
    return Verifier(
        name="similarity",
        instruction="{question}",
        max_tokens=256,
        extract=lambda text, _: text_answer(text),
        gold=gold_of_all(lambda text, _: text_answer(text)),
        gold_rule="it must hold a word",
        judge=lambda answer, example: max(similarity(answer, reference) for reference in example.accepted),
        right_at=threshold,
        span=_span,
        metric=metric,
        details={"similarity": _VERSION, "metric": metric, "right_at": threshold},
    )


def text_answer(text: str) -> str | None:
    """Return a reply on one line; ``None`` if it holds no word."""
    return " ".join(text.split()) if words(text) else None


def _span(text: str, example: Example) -> tuple[int, int] | None:
    if text_answer(text) is None:
        return None
    start = len(text) - len(text.lstrip())
    return start, start + len(text.strip())
