"""How many tokens a run's models spent thinking, as values; imports nothing heavy."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.text import percent


class ThinkingCounts(BaseModel):
    """The thoughts in some replies.

    Attributes:
        n: Replies.
        n_thought: Replies with a thought, finished or not.
        n_unfinished: Replies whose thought is not finished; they abstain.
        n_tokens: Tokens of all replies.
        n_thinking_tokens: Tokens of their thoughts.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    n_thought: int
    n_unfinished: int
    n_tokens: int
    n_thinking_tokens: int

    def describe(self, whose: str) -> str:
        """Say it in a few words: ``the base's 62.1 % of 5,120 tokens (98 of 100 replies, 3 unfinished)``."""
        share = percent(self.n_thinking_tokens / self.n_tokens) if self.n_tokens else "nothing"
        unfinished = f", {self.n_unfinished:,} unfinished" if self.n_unfinished else ""
        return f"{whose} {share} of {self.n_tokens:,} tokens ({self.n_thought:,} of {self.n:,} replies{unfinished})"


class Thinking(BaseModel):
    """Tokens spent thinking on the test split.

    Attributes:
        tags: What begins and what ends a thought.
        is_open: Whether prompts end inside a thought, so that replies begin there.
        base: The base's replies.
        experts: Those of all experts that vote.
    """

    model_config = ConfigDict(frozen=True)

    tags: tuple[str, str]
    is_open: bool
    base: ThinkingCounts
    experts: ThinkingCounts

    @property
    def sentence(self) -> str:
        """One line for reports."""
        return (
            f"Spent on thinking on the test split: {self.base.describe('by the base')}, "
            f"{self.experts.describe('by the experts')}."
        )
