r"""Brings a phrase to one form: what does not change its meaning is taken away.

Unicode NFC, not NFKC: composed and decomposed letters are one, but 2⁵ must not become 25, nor m² become m2. Of the
compatibility forms only letters and signs of full and half width are folded, which differ in their width alone.
"""

from __future__ import annotations

import re
import unicodedata

_TERMINAL = " \t\r\n.!?,;:…‥。｡．！？，､、；：؟،؛۔।॥።፣፤၊။៖៕·՝։"
_OPENING = " \t\r\n¿¡"
_QUOTES = "\"'“”„‟‘’‚‛«»‹›「」『』〝〞〟《》〈〉＂＇`´"
# Joiners, marks of direction, soft hyphens, byte order marks and the choice between text and picture.
_INVISIBLE = dict.fromkeys(
    [
        *map(
            ord,
            "\u00ad\u034f\u061c\u180e\ufeff\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062"
            "\u2063\u2064\u2066\u2067\u2068\u2069\ufe0e\ufe0f",
        )
    ]
)
_SAME = str.maketrans(
    dict.fromkeys("‘’‚‛ʼ＇´", "'") | dict.fromkeys("“”„‟〝〞〟＂", '"') | dict.fromkeys("‐‑‒–−﹣－", "-")
)
_IN_A_WORD = re.compile(r"(?<=\w)['’](?=\w)")
_WRAPPED = re.compile(
    r"""(?:\*\*\*(?P<c>[^*]+)\*\*\* | \*\*(?P<b>(?:(?!\*\*).)+)\*\* | \*(?P<i>[^*]+)\* | ~~(?P<s>[^~]+)~~
    | ```(?:\w{0,12}\n)?(?P<f>[^`]+)``` | `(?P<k>[^`]+)`
    | __(?!(?-i:[a-z0-9]+(?:_[a-z0-9]+)*)__\Z)(?P<u>(?:(?!__).)+)__ | _(?P<e>[^_]+)_     # but not Python's __init__
    | \$\$(?P<d>[^$]+)\$\$ | \$(?P<m>[^$]+)\$ | \\\((?P<p>(?:(?!\\\)).)+)\\\) | \\\[(?P<q>(?:(?!\\\]).)+)\\\]
    | \\(?:text(?:bf|it|rm|tt)?|math(?:rm|bf|it|sf)|mbox|boxed|emph|operatorname)\s*\{(?P<t>[^{}]+)\}
    | <(?P<h>b|i|em|strong|code|answer)>(?P<x>[^<>]+)</(?P=h)>
    )""",
    re.VERBOSE | re.DOTALL,
)
_FIRST_WIDE = "\u2e80"
_LONGEST_WRAPPED = 4_000


def normalise(text: str) -> str | None:
    """Remove from a phrase what does not change its meaning.

    That is: case, runs of white space, invisible characters, quotes and markup around the whole of it, punctuation at
    the end, and how letters, quotes and dashes are encoded.

    Returns:
        ``"san francisco"`` for ``" **San  Francisco**. "``; ``None`` where nothing is left, and for text that is not
        valid Unicode.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return None
    return _bare(_fold(_bare(text))) or None


def _bare(phrase: str) -> str:
    # What is taken away may uncover more of it: “**Paris**.”
    while (bare := _barer(phrase)) != phrase:
        phrase = bare
    return phrase


def _barer(phrase: str) -> str:
    return " ".join(_unquoted(_unwrapped(phrase.rstrip(_TERMINAL).lstrip(_OPENING))).split())


def _fold(text: str) -> str:
    if text.isascii():
        return text.casefold()
    seen = text.translate(_INVISIBLE)
    if max(seen, default="") >= _FIRST_WIDE:
        seen = "".join(map(_narrow, seen))
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", seen).casefold())
    return folded.translate(_SAME)


def _narrow(sign: str) -> str:
    if sign < _FIRST_WIDE:
        return sign
    return unicodedata.normalize("NFKC", sign) if unicodedata.east_asian_width(sign) in "FH" else sign


def _unwrapped(phrase: str) -> str:
    if len(phrase) > _LONGEST_WRAPPED or not (found := _WRAPPED.fullmatch(phrase)):
        return phrase
    groups = found.groupdict()
    groups.pop("h")
    return next(inside for inside in groups.values() if inside is not None)


def _unquoted(phrase: str) -> str:
    if len(phrase) > 2 and phrase[0] in _QUOTES and phrase[-1] in _QUOTES:
        inside = phrase[1:-1]
        held = _IN_A_WORD.sub("", inside)
        if phrase[0] not in held and phrase[-1] not in held:
            return inside
    return phrase
