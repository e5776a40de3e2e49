"""Every problem by name, with a sample, for ``thickets problems``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thickets.tasks.problems import reasoning_gym
from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.config import REASONING_GYM_PREFIX, ProblemConfig
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.gsm8k import SAMPLE, Gsm8k
from thickets.tasks.problems.largest_number import LargestNumber
from thickets.tasks.problems.signals import Signals
from thickets.tasks.types import Example


@dataclass(frozen=True)
class Sample:
    """A prompt of a problem, and its gold answer."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class CatalogueEntry:
    """A problem that can be named in a config.

    Attributes:
        name: Value of ``problem.name``.
        summary: One line about the problem.
        make: Builds the problem and one example of it.
    """

    name: str
    summary: str
    make: Callable[[], tuple[Problem, Example]]

    def sample(self) -> Sample:
        """Make one sample; some generated problems take a second for it."""
        problem, example = self.make()
        return Sample(problem.messages(example)[-1]["content"], example.answer)


def catalogue() -> list[CatalogueEntry]:
    """List every problem, those that need no data first, and every reasoning_gym task with a safe verifier."""
    generated = ProblemConfig(name="largest_number")
    waves = ProblemConfig(name="signals")
    # The user supplies the data of these two, so their sample is written here; the path is never opened.
    gsm8k = ProblemConfig(name="gsm8k", path="train.jsonl", test_path="test.jsonl")
    own = ProblemConfig(name="file", path="questions.jsonl", verifier="numeric")
    jars = Example("sample", "A shelf holds 4 rows of 6 jars. How many jars is that?", "24")
    return [
        CatalogueEntry("largest_number", LargestNumber.summary, lambda: _first(LargestNumber(generated))),
        CatalogueEntry("signals", Signals.summary, lambda: _first(Signals(waves))),
        CatalogueEntry("gsm8k", Gsm8k.summary, lambda: (Gsm8k(gsm8k), SAMPLE)),
        CatalogueEntry("file", FileProblem.summary, lambda: (FileProblem(own), jars)),
        *map(_reasoning_gym, reasoning_gym.task_names()),
    ]


def _reasoning_gym(task: str) -> CatalogueEntry:
    name = REASONING_GYM_PREFIX + task
    return CatalogueEntry(
        name, reasoning_gym.summary(task), lambda: _first(reasoning_gym.ReasoningGym(ProblemConfig(name=name)))
    )


def _first(problem: Problem) -> tuple[Problem, Example]:
    return problem, problem.examples(1, seed=0)[0]
