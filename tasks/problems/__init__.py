"""Problems: each makes prompts, extracts answers and verifies them; one file per problem."""

from __future__ import annotations

from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.catalogue import CatalogueEntry, Sample, catalogue, own_problems, reasoning_gym_problems
from thickets.tasks.problems.config import ProblemConfig, problem_title
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.gsm8k import Gsm8k
from thickets.tasks.problems.largest_number import LargestNumber
from thickets.tasks.problems.mbpp import Mbpp
from thickets.tasks.problems.reasoning_gym import ReasoningGym
from thickets.tasks.problems.signals import Signals

__all__ = [
    "CatalogueEntry",
    "Problem",
    "ProblemConfig",
    "Sample",
    "catalogue",
    "load_problem",
    "own_problems",
    "problem_title",
    "reasoning_gym_problems",
]


def load_problem(config: ProblemConfig) -> Problem:
    """Build the problem that a config names; a file is read when its examples are first needed.

    Raises:
        InputError: The config has an option that the problem does not take, or a verifier that cannot be used.
    """
    match config.name:
        case "largest_number":
            return LargestNumber(config)
        case "signals":
            return Signals(config)
        case "gsm8k":
            return Gsm8k(config)
        case "mbpp":
            return Mbpp(config)
        case "file":
            return FileProblem(config)
        case _:
            return ReasoningGym(config)
