"""Counts the tokens that base and experts spent thinking, from stored completions and a tokenizer alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.results.thinking import Thinking, ThinkingCounts
from thickets.tasks.verifiers.thought import Thoughts, after_thought, thought

Count = Callable[[Sequence[str]], list[int]]


def describe_thinking(
    store: ScoreQueries, experts: Sequence[str], reasoning: Thoughts | None, count: Callable[[], Count]
) -> Thinking | None:
    """Count the tokens of thoughts on the test split.

    Args:
        store: Scores of a finished run.
        experts: Candidate ids of the experts that vote, by rank.
        reasoning: What begins and ends a thought; None: replies hold none.
        count: Returns what counts the tokens of texts; called only if there are thoughts, since a tokenizer may take
            seconds to load.

    Returns:
        None if neither the base nor the best expert thinks.
    """
    if reasoning is None:
        return None
    base, best = (_replies(store, who) for who in (BASE_ID, experts[0]))
    if not any(thought(text, reasoning) for text in [*base["completion"], *best["completion"]]):
        return None
    counter = count()
    all_experts = pl.concat([best, *(_replies(store, who) for who in experts[1:])])
    return Thinking(
        tags=(reasoning.begin, reasoning.end),
        is_open=reasoning.is_open,
        base=_count(base, reasoning, counter),
        experts=_count(all_experts, reasoning, counter),
    )


def _replies(store: ScoreQueries, who: str) -> pl.DataFrame:
    """Return completion and n_tokens of a respondent's kept replies."""
    n_tokens = store.answers("test", [who]).select("example_id", "n_tokens")
    return store.completions("test", who).join(n_tokens, on="example_id").select("completion", "n_tokens")


def _count(replies: pl.DataFrame, reasoning: Thoughts, count: Count) -> ThinkingCounts:
    texts, totals = replies["completion"].to_list(), replies["n_tokens"].to_list()
    thoughts = [thought(text, reasoning) for text in texts]
    unfinished = [after_thought(text, reasoning) is None for text in texts]
    tokens = count(thoughts) if thoughts else []
    # An unfinished thought is the whole reply. Tokenized apart, a finished one may come out a token longer.
    spent = [total if is_all else min(n, total) for n, total, is_all in zip(tokens, totals, unfinished, strict=True)]
    return ThinkingCounts(
        n=len(texts),
        n_thought=sum(is_all or bool(text) for text, is_all in zip(thoughts, unfinished, strict=True)),
        n_unfinished=sum(unfinished),
        n_tokens=sum(totals),
        n_thinking_tokens=sum(spent),
    )
