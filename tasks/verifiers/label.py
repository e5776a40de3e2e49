r"""Finds the label that a reply gives, of a small set of labels.

A label is also a word, and a reply may weigh several: so one that stands among others is an answer only where a sign
of a decision stands beside it, and "not positive" gives no label.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from thickets.tasks.types import Example
from thickets.tasks.verifiers.marks import ANSWER_NOUNS, ANSWER_STEMS, PHRASE_END, Phrases, find_mark, find_phrase
from thickets.tasks.verifiers.phrases import normalise
from thickets.tasks.verifiers.verifier import Verifier, gold_of_all

_TEXT = 20_000  # the end of a reply, which bounds the time for one of megabytes
_FIRST_WIDE = "\u2e80"  # scripts that put no space between words begin here
_SENTENCE = re.compile(r"[.!](?=\s)")
_DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor|rather than|instead of|whether|if)|n't)\s(?:[^.;:,]{0,20}\s)?[*_\"'(\[]*\Z"
)
_PHRASES = Phrases(
    (*ANSWER_STEMS, "label", "categor", "class", "sentiment", "topic", "intent"),
    re.compile(
        rf"(?:{ANSWER_NOUNS}|labels?|categor(?:y|ies)|class(?:ification)?|sentiment|topic|intent){PHRASE_END}",
        re.IGNORECASE | re.VERBOSE,
    ),
)


class _Labels:
    """Finds some labels in texts."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._of_form = {form: label for label in labels if (form := normalise(label)) is not None}
        # The longest first: "not toxic" is not the label "toxic".
        self._pattern = re.compile("|".join(map(_whole, sorted(self._of_form, key=len, reverse=True))))

    def exactly(self, text: str) -> str | None:
        """Return the label that a text is, and nothing else."""
        form = normalise(text) if len(text) <= _TEXT else None
        return None if form is None else self._of_form.get(form)

    def leading(self, text: str) -> str | None:
        """Return the label that a text is, or that is its first sentence."""
        end = _SENTENCE.search(text)
        return self.exactly(text) or (self.exactly(text[: end.start()]) if end else None)

    def named(self, text: str) -> dict[str, bool]:
        """Return the labels that a text names as whole words, and whether one is ever denied or asked about."""
        within = normalise(text[-_TEXT:]) or ""
        found: dict[str, bool] = {}
        for match in self._pattern.finditer(within):
            label = self._of_form[match[0]]
            denied = _DENIED.search(within, max(0, match.start() - 32), match.start()) is not None
            asked = within.startswith("?", match.end()) or (match.end() == len(within) and text.rstrip().endswith("?"))
            found[label] = found.get(label, False) or denied or asked
        return found

    def only(self, text: str) -> str | None:
        """Return the label that a text names, if it names exactly one and never denies it or asks about it."""
        found = self.named(text)
        return next((label for label, denied in found.items() if not denied), None) if len(found) == 1 else None


_known = lru_cache(maxsize=64)(_Labels)


def find_label(text: str, labels: tuple[str, ...]) -> str | None:
    """Return the label that a reply gives, or ``None``.

    In this order: a reply that is a label, case, markup and punctuation around it aside; the surest mark (a box,
    ``####``, ``<answer>``, "the answer is", "Label:"), where a mark without one clear label ends the search; a first or
    last line that is a label, or a first sentence, unless they differ; the one label that the reply names as a whole
    word. A reply that names two without any of these signs, or says "not" of its only one, gives none.

    Args:
        text: The reply.
        labels: The labels that there are.
    """
    known = _known(labels)
    if (whole := known.exactly(text)) is not None:
        return whole
    mark = find_mark(text)
    if mark is None or mark.kind == "phrase":
        mark = find_phrase(text, _PHRASES)
    if mark is not None:
        content = text[mark.start : min(mark.end, mark.start + 500)]
        return known.leading(content) or known.only(content)
    lines = text.strip()[-_TEXT:].splitlines() or [""]
    standing = {known.leading(lines[0]), *map(known.exactly, lines)} - {None}
    if standing:
        return standing.pop() if len(standing) == 1 else None
    return known.only(text)


def named_labels(text: str, labels: tuple[str, ...]) -> set[str]:
    """Return every label that a reply names, in any place."""
    found = set(_known(labels).named(text))
    chosen = find_label(text, labels)
    return found | {chosen} if chosen else found


def gold_label(text: str, labels: tuple[str, ...]) -> str | None:
    """Return the label that a gold answer means: a label, or the number of one, counted from 0.

    A number counts only where no label is one.
    """
    found = _known(labels).exactly(text)
    if found is not None or not re.fullmatch(r"[0-9]{1,3}", text) or any(map(str.isdigit, labels)):
        return found
    return labels[int(text)] if int(text) < len(labels) else None


def label_verifier(labels: Callable[[], tuple[str, ...]]) -> Verifier:
    """Return the verifier of some labels.

    Args:
        labels: Returns them; a call, because they may stand in data that is read when it is first needed.
    """

    def span(text: str, example: Example) -> tuple[int, int] | None:
        label = find_label(text, labels())
        found = label and re.search(_whole(label), text, re.IGNORECASE)
        return found.span() if found else None

    return Verifier(
        name="label",
        instruction="{question}",
        max_tokens=32,
        extract=lambda text, _: find_label(text, labels()),
        gold=gold_of_all(lambda text, _: gold_label(text, labels())),
        gold_rule="it must be one of the labels, or the number of one counted from 0",
        named=lambda text: named_labels(text, labels()),
        span=span,
        n_options=lambda example: None if len(example.accepted) > 1 else len(labels()),
    )


def _whole(word: str) -> str:
    """Return a pattern that finds a label as whole words; some scripts put no space between theirs."""
    before = r"(?<!\w)" if word[0] < _FIRST_WIDE else ""
    return before + re.escape(word) + (r"(?!\w)" if word[-1] < _FIRST_WIDE else "")
