r"""Finds the letter that answers a multiple-choice question in a reply.

A letter is also a word (A, I) and a name (vitamin C), so one that no sign of a decision stands beside is not taken for
an answer, and two letters without a decision between them are none.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from thickets.tasks.types import Example
from thickets.tasks.verifiers.marks import (
    ANSWER_NOUNS,
    ANSWER_SIGNS,
    ANSWER_STEMS,
    PHRASE_END,
    Mark,
    Phrases,
    find_mark,
    find_phrase,
)
from thickets.tasks.verifiers.verifier import Verifier, gold_of_all

ALL = 26
_TEXT = 20_000  # the end of a reply, which bounds the time for one of megabytes
_LABEL = re.compile(
    r"(?:(?<=[\s|*])|\A)(?:\((?P<both>[A-Z])\)|(?P<one>[A-Z])(?:(?P<end>\))|(?P<dot>\.)(?=[\s*|]|\Z)))"
    r"|^[ \t*_]*(?P<first>[A-Z])[*_]*:",
    re.MULTILINE,
)

_WRAP = r"(?:[\s*_`$\"'“”‘’«»]|\\(?:text(?:bf|it|rm)?|math(?:rm|bf|sf)?|boxed|displaystyle)\s*\{|\\[(\[\]),]|\}|\{)*"
_NOUN = r"(?:option|choice|letter|alternative|statement|answer|opción|opzione|opção|réponse)"
_END = r"(?![\w'’])"
# The letter that a marked answer begins with. A small letter must be in brackets or all there is.
_FIRST = re.compile(
    rf"{_WRAP}(?:(?:definitely|clearly|probably|simply|indeed|therefore|so|then|most\ likely|the|la|el|le|die|der)\s+)*"
    rf"(?:(?i:{_NOUN})\s*:?\s*)?{_WRAP}"
    rf"(?:\(\s*{_WRAP}(?P<any>[A-Za-z]){_WRAP}\s*\)|\[(?P<square>[A-Z])\]|(?P<capital>[A-Z]){_END})(?P<rest>.*)",
    re.DOTALL | re.VERBOSE,
)
_ONE_LETTER = re.compile(rf"{_WRAP}[(\[]?\s*(?P<any>[A-Za-z])\s*[)\]]?{_WRAP}[.):]?{_WRAP}")
# After a letter: another one that is as good, or a question mark.
_ANOTHER = re.compile(
    rf"{_WRAP}[)\]]?{_WRAP}\(?(?:,|;|/|\||&|\+|-|–|\bor\b|\band\b|\bund\b|\boder\b|\bou\b|\bet\b|\by\b|\bo\b|\be\b|,?\s*(?:and|or)\b)"
    rf"\s*(?:(?:either|both|maybe|possibly|also|perhaps|even)\s+)?(?:{_NOUN}\s+)?{_WRAP}[(\[]?{_WRAP}(?P<other>[A-Za-z])"
    rf"(?![\w'’])(?!\s+[a-z])|[ \t]+(?P<next>[A-Z])(?:{_END}(?!\s+[a-z])|\Z)|{_WRAP}[)\]]?{_WRAP}\?"
)
# What may follow "A" or "I" where it is an option and not the word.
_AFTER_LETTER = re.compile(
    r"\s*(?:\Z|[.,;:!?)\]*}$\"'”|<—–(\\/_-]|(?:because|since|as|and|or|but|for|due|not|if|is|was|then|with|so|which|given|"
    r"rather|instead|by|based|weil|da|denn|car|porque|und|oder)\b)|\s*\n"
)
_DECIDED = re.compile(
    rf"(?:\b(?:choose|chose|pick|select|selected|selecting|choosing|picking|go\ with|going\ with|opt\ for|settle\ on)"
    rf"\s+(?:(?:the|with)\s+)?(?:{_NOUN}\s+)?[*_(\[$\"'“]{{0,4}}(?P<a>[A-Z]){_END}"
    rf"|(?<![\w'’])[(\[*]{{0,3}}(?P<b>[A-Z])[)\]*]{{0,3}}\s+(?:is|must\ be|has\ to\ be)\s+(?:clearly\ |definitely\ )?"
    rf"(?:the\ )?(?:right|correct|best|true|answer)\b)",
    re.VERBOSE,
)
_DENIED = re.compile(
    r"(?:\bnot|n['’]t|never|\bor|\band|\bnor|neither|whether|why|\bif)\s(?:[^.;\n]{0,20}\s)?[(\[*]*\Z", re.IGNORECASE
)
_RULED_OUT = re.compile(
    r"[)\]*.]{0,3}\s*(?:,\s*)?(?:(?:is|are|was)\s+(?:\w+ly\s+)?(?:not|wrong|incorrect|false|out|ruled|impossible"
    r"|a\ distractor)\b|isn['’]t"
    r"|can(?:not|['’]t)|doesn['’]t|does\s+not|wouldn['’]t|would\s+not|would\s+be\s+(?:wrong|incorrect|false))",
    re.VERBOSE,
)
_LEADING = re.compile(
    r"[\s*_]*(?:\((?P<any>[A-Za-z])\)|(?P<capital>[A-Z])(?:[.):]|\*\*|(?=[ \t]*\n)|(?=,?\s(?:because|since|as)\s)))"
    r"(?![A-Za-z])"
)
_ASKED_ABOUT = re.compile(r"\s+(?:is|are|was|were|can|cannot|could|would|seems|looks)\b")
_BRACKETED = re.compile(r"\((?P<any>[A-Z])\)")
# A capital that stands alone counts at the end, after a word that introduces a decision.
_STANDING = re.compile(
    r"(?:(?:\b(?:is|be|say|so|thus|therefore|hence|think|believe|guess|option|choice|it|it['’]s|definitely|probably|clearly|"
    r"certainly|obviously|answer|und|ist|c['’]est|es|è|é)|[:→=>])\s*,?\s*|\A\s*)[*_$\"'“(\[]{0,3}(?P<any>[A-Z])[*_$\"'”)\].!\s]*\Z",
    re.IGNORECASE | re.VERBOSE,
)
_NAMED = re.compile(rf"(?<![\w'’.])(?:(?P<any>[B-HJ-Z]){_END}|(?P<capital>[AI]){_END}(?!\s+[A-Za-z]))")
_PHRASES = Phrases(
    (*ANSWER_STEMS, "option", "choice", "letter", "lösung", "opción", "选", "選"),
    re.compile(
        rf"(?:{ANSWER_NOUNS}|options?|choice|letter|lösung|opción){PHRASE_END}|{ANSWER_SIGNS}"
        r"|[选選][择擇]?(?=\s*[(（]?[A-Z])",
        re.IGNORECASE | re.VERBOSE,
    ),
)


def choice_letter(text: str, options: int = ALL) -> str | None:
    """Return the letter that a reply chooses, or ``None``.

    In this order: a reply that is the letter; the surest mark (a box, ``####``, ``<answer>``, "answer is B"), where a
    mark without one clear letter ends the search; a decision ("I choose B", "B is correct"); a reply that starts with
    the letter ("(B)", "B. Paris") and does not list the options; the one bracketed letter that is not ruled out; a
    letter at the end after a word such as "so". The article of "A train leaves" and the pronoun I are no answers.

    Args:
        text: The reply.
        options: How many options the question has; a letter beyond them is no answer.
    """
    found = _find(unicodedata.normalize("NFKC", text), options)
    return None if found is None else found[0]


def named_letters(text: str) -> set[str]:
    """Return every letter that a reply names, in any form that ``choice_letter`` knows."""
    text = unicodedata.normalize("NFKC", text)[-_TEXT:]
    found = {(match["any"] or match["capital"]) for match in _NAMED.finditer(text)}
    found |= {match["any"] for match in _BRACKETED.finditer(text)}
    chosen = _find(text, ALL)
    return found | {chosen[0]} if chosen else found


def count_options(example: Example) -> int:
    """Return how many letters may be answers: as many as the question has options, or all."""
    return listed_options(example) or ALL


def listed_options(example: Example) -> int | None:
    """Return how many options a question lists: in ``metadata["options"]``, else by labels in its text; None: none."""
    listed = example.metadata.get("options")
    if isinstance(listed, (list, tuple, dict)) and listed:
        return min(len(listed), ALL)
    return labelled(example.question) or None


@lru_cache(maxsize=16_384)
def labelled(text: str) -> int:
    """Return how many options a text labels: (A), A), A. or A: and so on from A in one style; 0 for fewer than two."""
    counts: dict[str, int] = {}
    for match in _LABEL.finditer(text):
        style = match.lastgroup or ""
        letter = match["both"] or match["one"] or match["first"]
        if ord(letter) - ord("A") == counts.get(style, 0):
            counts[style] = counts.get(style, 0) + 1
    most = max(counts.values(), default=0)
    return most if most > 1 else 0


def _find(text: str, options: int) -> tuple[str, int, int] | None:
    """Return the chosen letter and where it stands."""
    if len(text) < 100 and (alone := _ONE_LETTER.fullmatch(text)):
        return _allowed(alone, "any", options)
    mark = find_mark(text)
    if mark is None or mark.kind == "phrase":
        mark = find_phrase(text, _PHRASES)
    if mark is not None:
        return _marked(text, mark, options)
    text_start = max(0, len(text) - _TEXT)
    return _decided(text, text_start, options) or _weak(text, text_start, options)


def _marked(text: str, mark: Mark, options: int) -> tuple[str, int, int] | None:
    content = text[mark.start : min(mark.end, mark.start + 500)]
    found: re.Match[str] | None
    if alone := _ONE_LETTER.fullmatch(content):
        if alone["any"] == "a" and mark.kind == "phrase" and "(" not in content and text[mark.start - 1] not in ":：=":
            return None  # "the answer is a", cut off
        found, group = alone, "any"
    elif (found := _FIRST.match(content)) is not None:
        group = next(name for name in ("any", "square", "capital") if found[name])
        if group == "capital" and found[group] in "AI" and not _AFTER_LETTER.match(found["rest"]):
            return None
        if _ANOTHER.match(found["rest"].partition("\n")[0]):
            return None
    else:
        return None
    letter = _allowed(found, group, options)
    return None if letter is None else (letter[0], letter[1] + mark.start, letter[2] + mark.start)


def _decided(text: str, start: int, options: int) -> tuple[str, int, int] | None:
    found = [
        (match, "a" if match["a"] else "b")
        for match in _DECIDED.finditer(text, start)
        if not _DENIED.search(text[max(0, match.start() - 32) : match.start()])
    ]
    letters = {match[group] for match, group in found}
    if len(letters) != 1:
        return None
    match, group = found[-1]
    if _ANOTHER.match(text[match.end(group) : match.end(group) + 100]) or match[group] == "I":
        return None
    return _allowed(match, group, options)


def _weak(text: str, start: int, options: int) -> tuple[str, int, int] | None:
    leading = _LEADING.match(text)
    rest = text[leading.end() : leading.end() + 200] if leading else ""
    if leading and not _ASKED_ABOUT.match(rest):
        same, _, below = rest.partition("\n")
        if labelled(text[-_TEXT:]) > 1 or _ANOTHER.match(same) or _ONE_LETTER.fullmatch(below):
            return None
        return _allowed(leading, "any" if leading["any"] else "capital", options)
    bracketed = [match for match in _BRACKETED.finditer(text, start) if not _RULED_OUT.match(text, match.end())]
    if bracketed:
        if len({match["any"] for match in bracketed}) > 1:
            return None
        return _allowed(bracketed[-1], "any", options)
    standing = _STANDING.search(text, max(start, len(text) - 60))
    if standing is None or not standing["any"].isupper() or standing["any"] == "I":
        return None
    others = {
        match["any"] or match["capital"]
        for match in _NAMED.finditer(text, start)
        if not _RULED_OUT.match(text, match.end())
    }
    others = {letter for letter in others if ord(letter) - ord("A") < options}
    return _allowed(standing, "any", options) if others <= {standing["any"]} else None


def _allowed(match: re.Match[str], group: str, options: int) -> tuple[str, int, int] | None:
    letter = match[group].upper()
    return (letter, *match.span(group)) if ord(letter) - ord("A") < options else None


def _gold(text: str, example: Example) -> str | None:
    text = unicodedata.normalize("NFKC", text)
    found = _ONE_LETTER.fullmatch(text) if len(text) < 100 else None
    letter = None if found is None else _allowed(found, "any", count_options(example))
    return None if letter is None else letter[0]


def _span(text: str, example: Example) -> tuple[int, int] | None:
    if unicodedata.normalize("NFKC", text) != text:
        return None
    found = _find(text, count_options(example))
    return None if found is None else found[1:]


CHOICE = Verifier(
    name="choice",
    instruction="{question}\n\nReply with just the letter.",
    max_tokens=64,
    extract=lambda text, example: choice_letter(text, count_options(example)),
    gold=gold_of_all(_gold),
    gold_rule="it must be the letter of one of the question's options",
    named=named_letters,
    span=_span,
    n_options=lambda example: None if len(example.accepted) > 1 else listed_options(example),
)
"""The letter of an option, from A to Z."""
