r"""Finds where a reply names a molecule, from the surest sign to the weakest.

A mark (``\boxed{}``, ``####``, ``<answer>``, ``<SMILES>``, "the answer is"), a fenced block, a line that is nothing but
SMILES, and "the product is ...". What is found is a list of readings, to be tried in this order.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from thickets.tasks.verifiers.marks import find_mark
from thickets.tasks.verifiers.molecules.process import LONGEST

Side: TypeAlias = Literal["reactants", "product"]
"""Of a reaction that a reply writes out, what the question asks for."""

_LOOK_AT = 20_000
_LINES = 40
_SHORTEST = 3
_TAG = re.compile(r"<(smiles|product|reactants|molecule)>((?:(?!<\1>).)*?)(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL)
_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_ATOMS = r"(?:\[[^\[\]\s]{1,60}\]|Cl|Br|[BCNOPSFIbcnops])"
_SMILES = re.compile(rf"{_ATOMS}(?:{_ATOMS}|[-=#$/\\:.()~%>0-9])*")
_NOUNS = r"(?:smiles|products?|reactants?|precursors?|molecules?|compounds?|structure|answer)"
_LABEL = re.compile(rf"^[*_]*(?:[A-Za-z]+\s+){{0,4}}{_NOUNS}(?:\s*\([^)\n]*\))?[*_]*\s*[:=][*_]*\s*", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[-*•>]\s+|\d+[.)]\s+)")
_SAID = re.compile(rf"\b{_NOUNS}(?:\s+\w+){{0,4}}?\s+(?:is|are|would\s+be|will\s+be)\b:?[ \t]*([^\n]+)", re.IGNORECASE)
_ARROW = re.compile(r"\s+(?:-+>|=+>)\s+|\s*[→⟶]\s*|\s*>>\s*")
_TOGETHER = re.compile(r"\s+[+.]\s+|\s+and\s+")
_LATEX = re.compile(r"\\(?:text|mathrm|texttt|mathtt|ce|verb)\s*\{([^{}]*)\}")
_TAGS = re.compile(r"</?(?:smiles|product|reactants|molecule|answer)>", re.IGNORECASE)
_STARS = re.compile(r"([*_]{1,3})(.+)\1", re.DOTALL)  # a star alone is any atom
_WRAPPING = "`\"'$“”‘’ \t\r\n"
_ENDS = ".,;:!"


def marked(text: str, side: Side | None) -> list[str] | None:
    """Return the readings of the surest mark; None if nothing is marked, and an empty list if the mark cannot be read.

    Args:
        text: The reply.
        side: What is asked for of a reaction, if one is written out; None: a reaction is no answer.
    """
    text = text[-_LOOK_AT:]
    mark = find_mark(text)
    if mark is not None and mark.kind != "phrase":
        return readings(text[mark.start : mark.end], side)
    if tags := [found[2] for found in _TAG.finditer(text) if found[2].strip()]:
        return readings(tags[-1], side)
    return None if mark is None else readings(text[mark.start : mark.end], side)


def unmarked(text: str, side: Side | None) -> list[list[str]]:
    """Return groups of readings where nothing is marked, the surest first; the readings of a group must agree.

    The last line of a reply (or of its last fenced block) if it looks like SMILES, else every line that does; then what
    stands behind the last "the product is".

    Args:
        text: The reply.
        side: As for `marked`.
    """
    text = text[-_LOOK_AT:]
    fences = [block for block in _FENCE.findall(text) if block.strip()]
    lines = [line for line in (fences[-1] if fences else text).splitlines() if line.strip(_WRAPPING)][-_LINES:]
    found = [_long(whole(_LABEL.sub("", _unwrapped(_BULLET.sub("", line.strip()))), side)) for line in lines]
    if found and found[-1]:
        return [[found[-1]]]
    sayings = _SAID.findall(text)
    return [[smiles for smiles in found if smiles], readings(sayings[-1], side) if sayings else []]


def readings(text: str, side: Side | None) -> list[str]:
    """Return the readings of a marked text: all of it; else the one word of its first line that looks like SMILES."""
    text = _unwrapped(_LABEL.sub("", _unwrapped(text)))
    if (smiles := whole(text, side)) is not None:
        return [smiles]
    words = {smiles for word in text.partition("\n")[0].split() if (smiles := _long(whole(word, side)))}
    return list(words) if len(words) == 1 else []


def named(text: str) -> list[str]:
    """Return the words of a reply that look like SMILES, sides of reactions apart."""
    words = (part for word in text[-_LOOK_AT:].split() for part in word.split(">"))
    return list(dict.fromkeys(smiles for word in words if (smiles := _long(whole(word, None)))))[-_LINES:]


def _long(smiles: str | None) -> str | None:
    """Return SMILES that is no word: "NO" and "soon" would be some, too."""
    return None if smiles is None or len(smiles) < _SHORTEST or (smiles.isalpha() and smiles.islower()) else smiles


def whole(text: str, side: Side | None) -> str | None:
    """Return a text that is SMILES by its look, molecules that stand apart joined by dots; None if it is not."""
    text = " ".join(_unwrapped(text).split())
    if len(text) > LONGEST:
        return None
    arrows = _ARROW.split(text)
    if len(arrows) > 1:
        text = f"{arrows[0]}>>{arrows[-1]}" if len(arrows) == 2 else ""
    text = ".".join(part.strip(_WRAPPING) for part in _TOGETHER.split(text))
    if not _SMILES.fullmatch(text):
        return None
    if ">" not in text:
        return text
    parts = text.split(">")
    if len(parts) != 3 or side is None:
        return None
    return parts[0 if side == "reactants" else 2] or None


def _unwrapped(text: str) -> str:
    """Take markup and punctuation away from around a text."""
    text = _LATEX.sub(r"\1", _TAGS.sub("", text)).strip(_WRAPPING).rstrip(_ENDS)
    if stars := _STARS.fullmatch(text):
        text = stars[2]
    return text.strip(_WRAPPING).rstrip(_ENDS).strip(_WRAPPING).replace("\\#", "#").replace("\\%", "%")
