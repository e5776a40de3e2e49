"""Learns a limit of tokens per answer from the base's answers to the selection split.

A candidate far from the base may ramble until it is cut off, and a batch waits for its slowest row, so a limit far
above what right answers need is pure cost. The rule, of the base's answers under the problem's own limit:

1. Those count that are right and ended by themselves (end of sequence or stop string).
2. The limit is 1.5 times the length that 95 % of them do not exceed (nearest rank), rounded up, but at least 32 tokens
   and never above the problem's own.
3. The problem's own limit stays where fewer than 5 answers count, or where most right answers were cut off: then their
   lengths say nothing about what an answer needs.

Answers are decoded greedily, token by token, so an answer that ends within the limit is the same under both.
"""

from __future__ import annotations

import polars as pl
from pydantic import BaseModel, ConfigDict

FEWEST_ANSWERS = 5
# Tokens. A whole sentence with the answer in it: a candidate may say it in one where the base says a word.
FLOOR = 32
_QUANTILE_PERCENT = 95
_HEADROOM_PERCENT = 150


class TokenLimit(BaseModel):
    """A learned limit and the counts it rests on; lengths are new tokens, the end-of-sequence token included.

    Attributes:
        max_tokens: Most new tokens per answer of the run.
        own: The problem's own limit, under which the base answered.
        n_answers: Answers of the base.
        n_right: Those of them that are right.
        n_ended: Right ones that ended by themselves.
        longest: Length of the longest of these; 0 without any.
        n_longer: Right answers, cut off or not, that are longer than `max_tokens`.
        n_tokens: Tokens of all answers of the base.
    """

    model_config = ConfigDict(frozen=True)

    max_tokens: int
    own: int
    n_answers: int
    n_right: int
    n_ended: int
    longest: int
    n_longer: int
    n_tokens: int

    @property
    def n_extra_tokens(self) -> int:
        """Tokens that learning cost: none where the limit is the problem's own, since the run needs those answers."""
        return 0 if self.max_tokens == self.own else self.n_tokens

    @property
    def sentence(self) -> str:
        """The limit in words: ``limit 24 of 512 tokens, from 31 right answers of the base, the longest 19``."""
        if not _is_enough(self.n_right, self.n_ended):
            return (
                f"limit {self.own} tokens, the problem's own: of {self.n_answers} answers of the base {self.n_right} "
                f"are right and {self.n_ended} of these ended by themselves, which is too few to learn from"
            )
        longer = f" (right answers beyond it: {self.n_longer})" if self.n_longer else ""
        return (
            f"limit {self.max_tokens} of {self.own} tokens, from {self.n_ended} right answers of the base, the longest "
            f"{self.longest}{longer}"
        )


def learn_limit(answers: pl.DataFrame, own: int) -> TokenLimit:
    """Apply the rule of this module.

    Args:
        answers: The base's answers under the problem's own limit, one row each: correct, n_tokens, finish_reason.
        own: That limit.
    """
    right = answers.filter(pl.col("correct"))
    lengths = sorted(right.filter(pl.col("finish_reason") == "stop")["n_tokens"].to_list())
    limit = own
    if _is_enough(right.height, len(lengths)):
        reached = lengths[_share_of(len(lengths), _QUANTILE_PERCENT) - 1]
        limit = min(own, max(FLOOR, _share_of(reached, _HEADROOM_PERCENT)))
    return TokenLimit(
        max_tokens=limit,
        own=own,
        n_answers=answers.height,
        n_right=right.height,
        n_ended=len(lengths),
        longest=max(lengths, default=0),
        n_longer=right.filter(pl.col("n_tokens") > limit).height,
        n_tokens=int(answers["n_tokens"].sum()),
    )


def _is_enough(n_right: int, n_ended: int) -> bool:
    """Return whether enough right answers ended by themselves to learn from their lengths."""
    return n_ended >= FEWEST_ANSWERS and 2 * n_ended >= n_right


def _share_of(number: int, percent: int) -> int:
    """Return `percent` per cent of a number, rounded up; in integers, so that no float is rounded."""
    return -(-number * percent // 100)
