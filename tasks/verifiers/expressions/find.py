"""Finds the answer in a reply, from the surest sign to the weakest."""

from __future__ import annotations

import re
from collections.abc import Iterator

# The end of a reply is where its answer is; a longer one is looked at from there.
_LOOK_AT = 20_000
_BRACES = re.compile(r"\\f?box(?:ed)?\s*\{|\\.|[{}]", re.DOTALL)
_TAG = re.compile(r"<answer>((?:(?!<answer>).)*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_HASHES = re.compile(r"^####[ \t]*([^\n]*)", re.MULTILINE)
_MARKER = re.compile(r"\banswers?[*_`]*(?:\s+is|\s+are|\s*[:=])[ \t]*:?", re.IGNORECASE)
_SEGMENT = re.compile(
    r"\$\$([^$]{1,1000})\$\$|(?<![\\$])\$(?!\s?\d[\d,.]*(?:\s+[A-Za-z]|\Z))([^$\n]{1,1000})(?<!\\)\$"
    r"|\\\(((?:(?!\\\().){1,1000}?)\\\)|\\\[((?:(?!\\\[).){1,1000}?)\\\]",
    re.DOTALL,
)
_SENTENCE_END = re.compile(
    r"(?<=[^.])\.(?=\s|\Z)|[!?](?=\s|\Z)|[,;]\s+(?:because|since|as|so|which|where|and so)\b|\s+(?:because|since)\b"
)
_NUMBER = re.compile(r"(?<![\w.,/^_\\{-])-?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?(?![\w/^_\\{:-]|[.,]\d)")
_SCALE = re.compile(r"\s*(?:hundred|thousand|million|billion|trillion|dozen|x|\*|×|or|to)\b", re.IGNORECASE)
_HEDGED = re.compile(
    r"\b(?:not|never|no|isn['’]t|aren['’]t|neither|least|most|less|more|fewer|greater|than|about|around|approximately|roughly|"
    r"almost|nearly|between|either|except|unless|step|case|question|problem|part|option|equation)\b",
    re.IGNORECASE,
)
_HAS_MATHEMATICS = re.compile(r"[\d\\=+^*/{}()\[\]√π∞]|^\W*[A-Za-z]\W*$")
_BULLET = re.compile(r"^\s*(?:[-*•]\s+|\d+[.)]\s+|#+\s+|>\s+)")


def marked(text: str) -> list[str] | None:
    r"""Return what the surest mark points at, as texts to try in this order; ``None`` if nothing is marked.

    A last ``\boxed{...}`` (one that is not finished hides those before it), ``#### ...``, ``<answer>...</answer>``,
    "the answer is ...".
    """
    text = text[-_LOOK_AT:]
    if (box := _boxed(text)) is not None:
        return [box] if box else []
    # A line of words is a heading, as in "#### Step 3".
    if hashes := [line for line in _HASHES.findall(text) if not re.match(r"\W*[A-Za-z]{3}", line)]:
        return list(_readings(hashes[-1]))
    if tags := [tag for tag in _TAG.findall(text) if tag.strip()]:
        return list(_readings(tags[-1]))
    if markers := list(_MARKER.finditer(text)):
        line, _, rest = text[markers[-1].end() :].lstrip(" \t*`").partition("\n")
        if not line.strip(" \t*`:$"):
            rest = rest.strip()  # the answer is on the next line, or in the lines of a displayed formula
            line = rest.partition("\n\n" if rest.startswith(("$$", "\\[")) else "\n")[0]
        return list(_readings(line))
    return None


def unmarked(text: str) -> list[str]:
    """Return the texts to try where nothing is marked, the surest first: all of a short reply, or parts of its end."""
    text = text[-_LOOK_AT:].strip()
    lines = [line for line in text.splitlines() if line.strip(" \t*`_-=")]
    if not lines:
        return []
    last = _BULLET.sub("", lines[-1]) if len(lines) > 1 else lines[-1]
    if len(lines) > 1 and lines[-1].strip() in ("$$", "\\]"):
        segments = [_group(match) for match in _SEGMENT.finditer(text)]
        return segments[-1:]
    if r"\begin" in text and len(text) < 500:
        return [text]
    if matches := list(_SEGMENT.finditer(last)):
        is_meant = not _HEDGED.search(last) and (len(matches) == 1 or not last[matches[-1].end() :].strip(" .!*)`"))
        return [last, *([_group(matches[-1])] if is_meant else [])]
    if len(lines) > 1 and not _HAS_MATHEMATICS.search(last):
        return []  # "Hope this helps!"
    return [*([last] if not _is_prose(last) or len(lines) == 1 else []), *_tails(last)]


def _readings(text: str) -> Iterator[str]:
    """The texts to try of what stands behind a mark: all, its first sentence, its first piece of mathematics."""
    text = text.strip().strip("*`").strip()
    if text:
        yield text
        sentence = _SENTENCE_END.split(text)[0].strip().strip("*`").strip()
        if sentence and sentence != text:
            yield sentence
        segments = [_group(match) for match in _SEGMENT.finditer(sentence)]
        if len(segments) == 1 and not _HEDGED.search(sentence):
            yield segments[0]
        elif not segments:
            yield from _only_number(sentence)


def _tails(line: str) -> Iterator[str]:
    """The end of a last line behind "is" or a sign of equality, and its only number."""
    line = line.strip().strip("*`").strip()
    for separator in (" is ", " are ", ": ", " = "):
        before, found, tail = line.rpartition(separator)
        # "995 is the largest number" is about 995.
        is_word_beside_number = bool(re.search(r"\d", before)) and not _HAS_MATHEMATICS.search(tail)
        if found and before and not _is_prose(tail) and not is_word_beside_number:
            yield tail.strip("*` ")
    yield from _only_number(line)


def _only_number(line: str) -> Iterator[str]:
    """The number of a line that has one only: of two it cannot be told which is meant."""
    if re.search(r"[\\=+*/^<>_{}|~±√≠≤≥]", _NUMBER.sub("", line)) or not re.search("[A-Za-z]{2}", line):
        return  # not prose: a part of an expression is no answer
    if _HEDGED.search(line):
        return  # "at least 5" is not 5
    found = list(_NUMBER.finditer(line))
    if (
        len(found) == 1
        and not _SCALE.match(line, found[0].end())
        and len(re.findall(r"\d+", line)) == len(re.findall(r"\d+", found[0][0]))
    ):
        yield found[0][0]


def _is_prose(text: str) -> bool:
    return len(re.findall(r"(?<!\\)(?<![A-Za-z])[A-Za-z]{3,}", re.sub(r"\\[a-z]+\{[^{}]*\}", "", text))) > 4


def _group(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None).strip()


def _boxed(text: str) -> str | None:
    r"""Return the content of the last ``\boxed{...}`` in one pass; empty if that one is not finished."""
    open_braces: list[int | None] = []
    content: str | None = None
    for match in _BRACES.finditer(text):
        sign = match[0]
        if sign.endswith("{") and sign != r"\{":
            open_braces.append(match.end() if len(sign) > 1 else None)
        elif sign == "}" and open_braces and (start := open_braces.pop()) is not None:
            content = text[start : match.start()]
    is_unfinished = any(start is not None for start in open_braces)
    return "" if is_unfinished else content
