"""Problems: each makes prompts, extracts answers and verifies them; one file per problem."""

from __future__ import annotations

from thickets.tasks.problems.base import Option, Problem, prompt
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.fields import problem_title
from thickets.tasks.problems.kind import Kind, find_kind, own_kinds
from thickets.tasks.problems.kinds import all_kinds, load_problem

__all__ = [
    "Kind",
    "Option",
    "Problem",
    "ProblemConfig",
    "all_kinds",
    "find_kind",
    "load_problem",
    "own_kinds",
    "problem_title",
    "prompt",
]
