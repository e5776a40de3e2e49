"""The one way from a completion to a verdict, for every place that judges answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thickets.tasks.problems.base import HasMany, HasSpan, Problem, chooses
from thickets.tasks.types import JSON, Example
from thickets.tasks.verifiers.thought import THOUGHT_TAGS, Thoughts, after_thought


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one completion.

    Attributes:
        answer: The canonical answer, which is its vote; None is an abstention.
        score: 0 to ``FULL``; 0 for an abstention.
        correct: Whether the score reaches what the problem calls right.
    """

    answer: str | None
    score: int
    correct: bool


ABSTENTION = Verdict(None, 0, False)


class Judge:
    """Judges completions by the rules of a problem."""

    def __init__(self, problem: Problem, reasoning: tuple[str, str] | Thoughts | None = THOUGHT_TAGS) -> None:
        """Judge by a problem's rules.

        Args:
            problem: Extracts and scores answers.
            reasoning: What begins and what ends a thought (``decoding.reasoning``); None: replies hold none.
        """
        self.problem = problem
        if chooses(problem):  # a label is no thought, even where the prompt has opened one
            reasoning = None
        self.reasoning = None if reasoning is None else Thoughts(*reasoning)

    def identity(self) -> dict[str, JSON]:
        """Return everything that changes a verdict: names the verdicts, as the answers' identity names the shards."""
        if self.reasoning is None:
            return {**self.problem.judgement(), "reasoning": None}
        opened: dict[str, JSON] = {"prompt_opens_thought": True} if self.reasoning.is_open else {}
        return {**self.problem.judgement(), "reasoning": [self.reasoning.begin, self.reasoning.end], **opened}

    def said(self, text: str) -> str | None:
        """Return the end of a completion that is behind its thoughts; None if a thought is not finished."""
        return text if self.reasoning is None else after_thought(text, self.reasoning)

    def extract(self, text: str, example: Example) -> str | None:
        """Return the canonical answer in a completion; None is an abstention."""
        said = self.said(text)
        return None if said is None else self.problem.extract(said, example)

    def lenient(self, text: str, example: Example) -> bool | None:
        """Return whether a completion that is not right names the right answer behind its thoughts, in any form."""
        said = self.said(text)
        return False if said is None else self.problem.lenient(said, example)

    def of_answer(self, answer: str | None, example: Example) -> Verdict:
        """Judge a canonical answer, such as a vote."""
        if answer is None:
            return ABSTENTION
        score = self.problem.score(answer, example)
        return Verdict(answer, score, score >= self.problem.right_at)

    def judge(self, texts: Sequence[str], examples: Sequence[Example]) -> list[Verdict]:
        """Judge completions.

        Args:
            texts: Whole completions, one per example.
            examples: The questions they answer.
        """
        answers = self._extract_all(texts, examples)
        return [self.of_answer(answer, example) for answer, example in zip(answers, examples, strict=True)]

    def _extract_all(self, texts: Sequence[str], examples: Sequence[Example]) -> list[str | None]:
        if not isinstance(self.problem, HasMany):
            return [self.extract(text, example) for text, example in zip(texts, examples, strict=True)]
        said = [self.said(text) for text in texts]
        asked = [(each, example) for each, example in zip(said, examples, strict=True) if each is not None]
        answers = iter(self.problem.extract_all([each for each, _ in asked], [example for _, example in asked]))
        return [None if each is None else next(answers) for each in said]

    def span(self, text: str, example: Example) -> tuple[int, int] | None:
        """Return where in a completion its answer stands (start and end), to be shown; None: cannot be told."""
        said = text if self.reasoning is None else after_thought(text, self.reasoning)
        if said is None or not isinstance(self.problem, HasSpan):
            return None
        found = self.problem.span(said, example)
        before = len(text) - len(said)  # a thought stands before what is said
        return None if found is None else (before + found[0], before + found[1])
