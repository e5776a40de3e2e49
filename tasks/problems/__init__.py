"""Problems: each makes prompts, extracts answers and verifies them; one file per problem."""

from __future__ import annotations

from collections.abc import Callable

from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.catalogue import CatalogueEntry, Sample, catalogue, own_problems, reasoning_gym_problems
from thickets.tasks.problems.config import ProblemConfig, problem_title
from thickets.tasks.problems.countdown import Countdown
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.gsm8k import Gsm8k
from thickets.tasks.problems.largest_number import LargestNumber
from thickets.tasks.problems.mbpp import Mbpp
from thickets.tasks.problems.reasoning_gym import ReasoningGym
from thickets.tasks.problems.signals import Signals

__all__ = [
    "CatalogueEntry",
    "Countdown",
    "Problem",
    "ProblemConfig",
    "Sample",
    "catalogue",
    "load_problem",
    "own_problems",
    "problem_title",
    "reasoning_gym_problems",
]


_KINDS: dict[str, Callable[[ProblemConfig], Problem]] = {
    "largest_number": LargestNumber,
    "countdown": Countdown,
    "signals": Signals,
    "gsm8k": Gsm8k,
    "mbpp": Mbpp,
    "file": FileProblem,
}


def load_problem(config: ProblemConfig) -> Problem:
    """Build the problem that a config names; a file is read when its examples are first needed.

    Raises:
        InputError: The config has an option that the problem does not take, or a verifier that cannot be used.
    """
    return _KINDS.get(config.name, ReasoningGym)(config)
