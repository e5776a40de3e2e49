"""How similar two texts are, in thousandths: ROUGE's F1 over words.

Words are lower-cased runs of letters and digits. On ASCII texts that is the rule of the package rouge-score (without
its stemmer), and so are the values; there every other letter ends a word ("café" is "caf"), here it is a part of one.
A character of Chinese or Japanese is a word of its own, since such texts have no spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from thickets.tasks.types import FULL

Similarities: TypeAlias = NDArray[np.int64]
Pairs: TypeAlias = Callable[[Sequence[str]], Similarities]
"""Texts to the similarity of each pair, 0 to ``FULL``, `[n, n]`: symmetric, ``FULL`` on the diagonal."""

_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")


@lru_cache(maxsize=16_384)
def words(text: str) -> tuple[str, ...]:
    """Return the words of a text, in order."""
    return tuple(_WORD.findall(unicodedata.normalize("NFC", text).lower()))


def rouge_l(text: str, reference: str) -> int:
    """Return the F1 of the longest common subsequence of words (Lin 2004), rounded down to thousandths."""
    from rapidfuzz.distance import LCSseq  # what neither judges nor compares texts goes without it

    one, other = _coded([text, reference])
    return 2 * FULL * LCSseq.similarity(one, other) // (len(one) + len(other)) if one or other else 0


def rouge_1(text: str, reference: str) -> int:
    """Return the F1 of the words in common (Lin 2004), rounded down to thousandths."""
    one, other = words(text), words(reference)
    shared = sum((Counter(one) & Counter(other)).values())
    return 2 * FULL * shared // (len(one) + len(other)) if one or other else 0


def _rouge_l_pairs(texts: Sequence[str]) -> Similarities:
    from rapidfuzz.distance import LCSseq
    from rapidfuzz.process import cdist

    coded = _coded(texts)
    common = cdist(coded, coded, scorer=LCSseq.similarity, dtype=np.uint32).astype(np.int64)
    lengths = np.array([len(each) for each in coded], dtype=np.int64)
    return 2 * FULL * common // np.maximum(lengths[:, None] + lengths[None, :], 1)


def _rouge_1_pairs(texts: Sequence[str]) -> Similarities:
    counts = [Counter(words(text)) for text in texts]
    places = {word: place for place, word in enumerate(dict.fromkeys(word for each in counts for word in each))}
    table = np.zeros((len(texts), len(places)), dtype=np.int64)
    for row, each in enumerate(counts):
        table[row, [places[word] for word in each]] = list(each.values())
    common = np.stack([np.minimum(table, row).sum(axis=1) for row in table]) if len(texts) else table
    lengths = table.sum(axis=1)
    return 2 * FULL * common // np.maximum(lengths[:, None] + lengths[None, :], 1)


def _coded(texts: Sequence[str]) -> list[str]:
    """Return texts with a character for each word: equal words have equal ones, and the library compares characters."""
    codes: dict[str, str] = {}
    return ["".join(codes.setdefault(word, chr(len(codes))) for word in words(text)) for text in texts]


SIMILARITY: Mapping[str, Callable[[str, str], int]] = MappingProxyType({"rougeL": rouge_l, "rouge1": rouge_1})
"""Similarity of a text to a reference, by the metric's name; 0 where both hold no word."""

PAIRS: Mapping[str, Pairs] = MappingProxyType({"rougeL": _rouge_l_pairs, "rouge1": _rouge_1_pairs})
"""The same for all pairs of some texts, each of which holds a word."""
