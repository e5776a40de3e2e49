r"""Finds where a reply marks its answer: ``\boxed{}``, ``####``, ``<answer>``, "the answer is".

From the surest mark to the weakest, and of one kind the last. A mark that holds nothing (an empty or unfinished box,
two boxes joined by "or") is still the mark: who marks an answer that cannot be read has not given one by the way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# Phrases are looked for in the end of a reply, which bounds the time that a reply of megabytes takes.
_PHRASE_TEXT = 20_000
_BOX_TEXT = 4_000

_BOX = "\\boxed"
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BOTH_BOXES = re.compile(r"[\s$]*(?:[,;&]|\\?\b(?:and|or|und|oder|et|ou|y|o)\b|\\text\{\s*(?:and|or)\s*\})[\s$]*")
_HASHES = "####"
# "#### Step 2: add them" and "#### 2. Add them" are headings where text follows.
_HEADING = re.compile(r"[\s*_]*(?:\d{1,2}[.)]\s+)?[*_]*[^\W\d_]{2}")
_TAGS = ("<answer>", "<Answer>", "<ANSWER>")
_END_TAG = re.compile(r"</answer>", re.IGNORECASE)
_IS = (
    r"(?:is|was|ist|lautet|wäre|est|sera|es|será|sería|è|é|(?:would|should|must|will|has\ to)\ be)\b"
    r"(?:[ \t]+(?:therefore|thus|then|so|hence|simply|now)\b)?(?:[ \t]*[:：])?"
)
PHRASE_END = rf"""
    (?:\ (?:corre[ct]+[ae]?|exacta|giusta|final))?
    (?:(?:\ (?:to|for|of)\ [^\n.:]{{1,60}}?)?[ \t*_]+{_IS} | (?:\s*\([^)\n]{{1,40}}\))?[ \t*_]*[:=：])
"""
ANSWER_STEMS = (
    "answer", "antwort", "réponse", "reponse", "respuesta", "risposta", "resposta", "antwoord", "ответ", "答案", "答え",
    "正解", "정답",
)  # fmt: skip
ANSWER_NOUNS = r"(?:answers?|antwort|r[ée]ponse|respuesta|risposta|resposta|antwoord|ответ)"
ANSWER_SIGNS = r"(?:答案|答え|正解|정답)\s*(?:应该)?[是为為は은:：]+"
_MARKUP = " \t\r\n*`"
_NO_WORD = re.compile(r"[\s*_`$\\()\[\]>#-]*")


@dataclass(frozen=True, slots=True)
class Mark:
    """A marked answer.

    Attributes:
        kind: Of mark.
        start: Where its content begins.
        end: Where its content ends; the same place for a mark that holds nothing.
    """

    kind: Literal["box", "hashes", "tag", "phrase"]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases that mark an answer.

    Attributes:
        stems: The words they begin with, in small letters: where none is, the pattern need not be tried.
        pattern: The whole phrase, from its stem to where the answer begins.
    """

    stems: tuple[str, ...]
    pattern: re.Pattern[str]


_PHRASES = Phrases(ANSWER_STEMS, re.compile(rf"{ANSWER_NOUNS}{PHRASE_END}|{ANSWER_SIGNS}", re.IGNORECASE | re.VERBOSE))


def find_mark(text: str) -> Mark | None:
    """Return the surest mark of a reply."""
    mark = _box(text) or _hashes(text) or _tag(text)
    if mark is None or (mark.kind == "hashes" and not text[mark.start :].strip()):
        # A reply that ends in a bare "####" was cut off after "the answer is 5", or has no answer.
        return find_phrase(text) or mark
    return mark


def find_phrase(text: str, phrases: Phrases | None = None) -> Mark | None:
    """Return what follows the last "answer is" or "Answer:": the rest of its line, or the next one with words.

    Args:
        text: The reply.
        phrases: What counts as such a phrase, if more than "answer" in some languages.
    """
    phrases = phrases or _PHRASES
    start = max(0, len(text) - _PHRASE_TEXT)
    small = text[start:].lower()
    if len(small) != len(text) - start:
        small = text[start:]  # a few capitals have longer small letters
    last = None
    for stem in phrases.stems:
        at = small.rfind(stem)
        while at >= 0 and (last is None or start + at > last.start()):
            if found := phrases.pattern.match(text, start + at):
                last = found
                break
            at = small.rfind(stem, 0, at)
    return None if last is None else Mark("phrase", *_line(text, last.end()))


def boxed(text: str) -> str | None:
    r"""Return the content of the last ``\boxed{...}``, inner braces included; ``None`` if it is not complete."""
    mark = _box(text)
    return None if mark is None or mark.start == mark.end else text[mark.start : mark.end]


def final_answer(text: str) -> str | None:
    r"""Return the answer in a reply of free form.

    The last ``<answer>`` tag wins; it need not be closed, since decoding may stop at ``</answer>`` and cut it off.
    Without a tag it is the last ``\boxed{}``; without that what follows the last "answer is" or "Answer:" (the rest of
    that line, or all that comes after where the line ends there), and without that the last line.

    Returns:
        Stripped text, or ``None`` where there is none.
    """
    return _valid(_free_form(text))


def _free_form(text: str) -> str:
    if mark := _tag(text) or _box(text):
        inside = text[mark.start : mark.end].strip()
        if mark.kind == "tag" and inside.startswith(_BOX) and (box := boxed(inside)) is not None:
            inside = box.strip()
        return inside
    if mark := find_phrase(text):
        if text[mark.start - 1] == "\n":
            return text[mark.start :].strip(_MARKUP)
        # "The answer is **7**." The full stop ends the sentence around the answer; a tagged answer keeps its own.
        return text[mark.start : mark.end].strip(_MARKUP).removesuffix(".").rstrip(_MARKUP)
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _valid(answer: str) -> str | None:
    try:
        answer.encode()  # a vote is written to a file
    except UnicodeEncodeError:
        return None
    return answer or None


def _box(text: str) -> Mark | None:
    start = text.rfind(_BOX)
    if start < 0:
        return None
    content = _braced(text, start + len(_BOX))
    before = text.rfind(_BOX, 0, start)
    if content is None:
        return Mark("box", start, start)
    if (
        before >= 0
        and (other := _braced(text, before + len(_BOX)))
        and _BOTH_BOXES.fullmatch(text, other[1] + 1, start)
    ):
        return Mark("box", start, start)
    return Mark("box", *content)


def _braced(text: str, start: int) -> tuple[int, int] | None:
    """Return where the content of the braces that open at ``start`` begins and ends."""
    if text[start : start + 1] != "{":
        return None
    depth = 0
    for found in _BRACE.finditer(text, start, start + _BOX_TEXT):
        if found[0] == "{":
            depth += 1
        elif found[0] == "}":
            depth -= 1
            if not depth:
                return start + 1, found.start()
    return None


def _hashes(text: str) -> Mark | None:
    at = len(text)
    for _ in range(100):
        at = text.rfind(_HASHES, 0, at)
        if at < 0:
            return None
        start, end = at + len(_HASHES), _line_end(text, at)
        if not text[start:end].strip(" \t#"):
            line = text.rfind("\n", 0, at) + 1
            opening = text.find(_HASHES, line, at)
            if opening >= 0:  # "#### 42 ####"
                return Mark("hashes", opening + len(_HASHES), at)
            if not text[end:].strip() and _HASHES in _last_line(text, line):
                continue  # a model that says "#### 12" over and over was cut off
            return Mark("hashes", *_line(text, start))
        if not (_HEADING.match(text, start, end) and text[end:].strip()):
            return Mark("hashes", start, end)
    return None


def _tag(text: str) -> Mark | None:
    at = max(text.rfind(tag) for tag in _TAGS)
    if at < 0:
        return None
    start = at + len(_TAGS[0])
    end = _END_TAG.search(text, start)
    return Mark("tag", start, end.start() if end else len(text))


def _line(text: str, start: int) -> tuple[int, int]:
    """Return the rest of a line, or the next line that holds more than markup."""
    end = _line_end(text, start)
    while end < len(text) and _NO_WORD.fullmatch(text, start, end):
        start, end = end + 1, _line_end(text, end + 1)
    return start, end


def _last_line(text: str, end: int) -> str:
    """Return the last line with text before ``end``, or the end of it if it is long."""
    return text[max(0, end - 1_000) : end].rstrip().rpartition("\n")[2]


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
