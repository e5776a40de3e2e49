"""Rewrites LaTeX and Unicode mathematics in the few signs that the grammar of `reading` knows."""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 1_000
"""A longer text is no final answer; it abstains before anything is tried."""

# What LaTeX's \{ and \} and \text{...} become: brackets of sets and quoted words, which no reply is likely to hold.
SET_OPEN, SET_CLOSE, WORDS_OPEN, WORDS_CLOSE = "⦃", "⦄", "⟦", "⟧"
ROW_END = "⏎"

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ]+")
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—−﹣－", "-"),
        **dict.fromkeys("×⋅·∙∗", "*"),
        "÷": "/",
        "⁄": "/",
        "∕": "/",
        "π": r"\pi ",
        "∞": r"\infty ",
        "√": r"\sqrt ",
        "∪": r"\cup ",
        "∈": r"\in ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≈": r"\approx ",
        "±": r"\pm ",
        "∅": r"\emptyset ",
        "°": r"^\circ ",
        "ℝ": r"\mathbb{R}",
        "θ": r"\theta ",
        "α": r"\alpha ",
        "β": r"\beta ",
        "λ": r"\lambda ",
        # Marks without width or meaning.
        **dict.fromkeys(
            "\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u00ad"
        ),
    }
)
_RENAMED = {
    r"\dfrac": r"\frac",
    r"\tfrac": r"\frac",
    r"\cfrac": r"\frac",
    r"\dbinom": r"\binom",
    r"\tbinom": r"\binom",
    r"\cdot": "*",
    r"\times": "*",
    r"\ast": "*",
    r"\div": "/",
    r"\leq": r"\le",
    r"\leqslant": r"\le",
    r"\geq": r"\ge",
    r"\geqslant": r"\ge",
    r"\quad": "   ",  # between two answers, so never between the digits of one
    r"\qquad": "   ",
    r"\lt": "<",
    r"\gt": ">",
    r"\varnothing": r"\emptyset",
    r"\degree": r"^\circ",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\vert": "|",
    r"\lbrace": SET_OPEN,
    r"\rbrace": SET_CLOSE,
    r"\lbrack": "[",
    r"\rbrack": "]",
    r"\langle": "(",
    r"\rangle": ")",
    r"\simeq": r"\approx",
    r"\colon": ":",
    r"\epsilon": r"\varepsilon",
    r"\phi": r"\varphi",
}
_DROPPED = {
    *(r"\left", r"\right", r"\big", r"\Big", r"\bigg", r"\Bigg", r"\bigl", r"\bigr", r"\Bigl", r"\Bigr"),
    *(r"\displaystyle", r"\textstyle", r"\limits", r"\boldmath"),
    r"\thinspace",
}
_COMMAND = re.compile(r"\\[A-Za-z]+|\\.", re.DOTALL)
_SIGNS = {r"\{": SET_OPEN, r"\}": SET_CLOSE, r"\%": "%", r"\$": "$", r"\&": "&", r"\#": "#", r"\_": "_", r"\!": ""}
_WORDS = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mathrm|mathbf|mathit|mathsf|mbox|bold|rm)\s*\{([^{}]*)\}")
_OPERATOR = re.compile(r"\\operatorname\s*\*?\{([A-Za-z]*)\}")
_LETTER_TIMES = re.compile(r"(?<=\d) +[xX] +(?=\d)|(?<=\d) *[xX] *(?=10 *\^)")
_MARKED_THOUSANDS = re.compile(r"(?<=\d)[_'’](?=\d{3}(?!\d))")
_SPACED_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3})((?: \d{3})+)(?![\d ]*\d)")


def plain(text: str) -> str | None:
    """Return the text in plain signs, or ``None`` if it is too long to be an answer."""
    if len(text) > MAX_LENGTH:
        return None
    if len(re.findall(r"(?<!\\)\$", text)) % 2 == 0:
        text = re.sub(r"(?<!\\)\$", " ", text)  # they begin and end mathematics; a lone one is money
    text = text.translate(_PLAIN)
    text = _VULGAR.sub(lambda match: " " + unicodedata.normalize("NFKC", match[0]).replace("⁄", "/"), text)
    text = _SUPERSCRIPT_RUN.sub(lambda match: "^{" + match[0].translate(_SUPERSCRIPTS) + "}", text)
    text = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    text = _OPERATOR.sub(r"\\\1 ", text.replace("**", "^"))
    text = _WORDS.sub(f"{WORDS_OPEN}\\1{WORDS_CLOSE}", text)
    # Two backslashes end a row of a matrix; anywhere else they are one that was escaped once too often.
    text = text.replace("{,}", ",").replace(r"\\", ROW_END if r"\begin" in text else "\\")
    text = _COMMAND.sub(_command, text)
    text = _LETTER_TIMES.sub(" * ", _MARKED_THOUSANDS.sub("", text))
    text = _SPACED_THOUSANDS.sub(lambda match: match[1] + match[2].replace(" ", ""), text.replace("~", " "))
    return re.sub(r"[ \t]+", " ", text).strip()


def _command(match: re.Match[str]) -> str:
    command = match[0]
    if command in _SIGNS:
        return _SIGNS[command]
    if not command[1].isalpha() or command in _DROPPED:
        return " "
    return _RENAMED.get(command, command) + " "
