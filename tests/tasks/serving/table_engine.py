"""An engine whose answers are written in a table: what each expert says, and a list of what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from thickets.tasks.engines.prompts import text_of
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.consensus import Consensus, consensus_of
from thickets.tasks.problems.judging import Judge
from thickets.tasks.serving import Voter
from thickets.tasks.serving.questions import Question
from thickets.tasks.types import Candidate, Completion, Example, Prompt, Sampling, Weights

EXPERTS = tuple(Candidate(seed, 0.1) for seed in range(1, 6))
JUDGE = Judge(load_problem(ProblemConfig(name="largest_number", verifier="regex", pattern=r"Answer: (\d)")))
_BY_MAJORITY = consensus_of(JUDGE.problem)
_GREEDY = Sampling(max_tokens=8)


class TableEngine:
    """Answers a prompt of five letters with the letter at the place of the expert that is loaded; the base with `z`."""

    def __init__(self, before: Callable[[Sequence[Prompt]], None] = lambda prompts: None) -> None:
        """Call `before` ahead of every answer."""
        self.loads: list[Weights | None] = []
        self.calls: list[tuple[Weights | None, tuple[str, ...]]] = []
        self.samplings: list[Sampling] = []
        self.is_closed = False
        self.threads: set[int] = set()
        self._held: Weights | None = None
        self._before = before

    def load(self, weights: Weights | None) -> None:
        self.loads.append(weights)
        self._held = weights

    def prepare(self, weights: Weights) -> None:
        pass

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        self.threads.add(threading.get_ident())
        self._before(prompts)
        texts = tuple(map(text_of, prompts))
        self.calls.append((self._held, texts))
        self.samplings.append(sampling)
        place = EXPERTS.index(self._held) if self._held in EXPERTS else None
        return [
            Completion("Answer: 0" if place is None else f"Answer: {text[place]} by {place + 1}", 2, "stop")
            for text in texts
        ]

    def close(self) -> None:
        self.is_closed = True


def ensemble(k: int = 5, powers: Sequence[int] = (1,) * 5) -> tuple[Voter, ...]:
    return tuple(Voter(expert, power) for expert, power in zip(EXPERTS[:k], powers, strict=False))


def question(
    text: str,
    voters: tuple[Voter, ...] | None = None,
    *,
    consensus: Consensus = _BY_MAJORITY,
    sampling: Sampling = _GREEDY,
    **more: bool,
) -> Question:
    return Question(text, Example(text, text, ""), voters or ensemble(), sampling, consensus, **more)
