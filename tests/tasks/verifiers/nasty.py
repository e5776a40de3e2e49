"""Texts that no careful person would write, made from a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

PIECES = (
    "\\boxed{", "}", "{", "\\boxed{}", "\\boxed", "####", "#### ", "<answer>", "</answer>", "<ANSWER>",
    "The answer is ",
    "Answer: ", "answer is not ", "Antwort: ", "答案是", "answer to the ", "\\frac{", "\\frac12", "\\frac{1}{0}",
    "\\sqrt{",
    "\\text{ cm}^2", "^2", "^{", "9^{9^{9^9}}", "10^999999999", "1e999999", "1e-999999", "1e99999999999",
    "2**99999", "½",
    "12½", "1/0", "0/0", "3/", "/4", "1,2", "1.2.3", "12:30", "1,234,5", "12 345", "12,34,567", "1.234,56",
    "10–12", "--5",
    "−", "–", "—", "-", "+", "±", "$", "\\$", "€", "%", "k", " million", " dozen", "x", "=", "≠", "!=", ">", "<",
    ">>", "|",
    "(", ")", "[", "]", "A", "B", "(C)", "C or D", "I", "a", "**", "*", "_", "__", "`", "```", "\"", "“", "”", "'",
    "«",
    "\x00", "\n", "\r\n", "\t", " ", "\u00a0", "\u2009", "\u200b", "\u200f", "\u202e", "\ufeff", "\u00ad",
    "\u0301", "é",
    "\ud800", "\udfff", "\U0001f468\u200d\U0001f469", "İ", "ß", "ﬁ", "Ⅷ", "①", "²", "₁", "٣", "１", "𝟗", "五", "万",
    "٫",
    ".", "..", "...", "…", "?", "!", ",", ";", ":", "~", "\\", "\\,", "\\(", "\\)", "NaN", "inf", "-inf", "0x1F",
    "1_000",
    "5", "42", "007", "3.14", ".5", "5.", "1e5", "is correct", " is wrong", "choose ", "or ", "and ", "not ",
    "<think>",
)  # fmt: skip
BLOCKS = (
    "(", "[", "{", "\\boxed{", "\\frac{", "\\sqrt{", "^{", "9^", "-", "9", "1,", "1 ", "1.", "1/", "1:", "5 cm ",
    "####",
    "\n####", "<answer>", "answer ", "answer is ", "answer of ", "answer to a", "Answer: C or ", "A) ", "(A) ",
    "B ", "**",
    "“", "\"", "'", "_", "`", "$", "\u200f", "\x00", "½", "\u0301", "é", "万", "1 million ", "1\\,", "- ", "= ",
    "x = ", "?",
    "\n", " ", "\\", "1e", "not ", "it is B. ", "I choose A. ", "a?", "\\boxed{1} or ", "1\n", "5 hours and ",
    "\\text{a}",
)  # fmt: skip


def short_texts(count: int, seed: int = 0) -> Iterator[str]:
    """Pieces that mean something to a verifier, at random."""
    draw = random.Random(seed)
    for _ in range(count):
        yield "".join(draw.choices(PIECES, k=draw.randint(1, 24)))


def long_texts(size: int) -> Iterator[str]:
    """One block over and over, also before and behind something that looks like an answer."""
    for block in BLOCKS:
        text = block * (size // len(block))
        yield text
        yield f"The answer is 5. {text}"
        yield f"{text} \\boxed{{{text[:2000]}}} 5 B"
    yield "9" * 399 + "^9999"
    yield "3" * 3_000 + "(" * 3_000
    yield "\\boxed{" + "(" * 3_000 + "5" + ")" * 3_000 + "}"
