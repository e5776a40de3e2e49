"""A judge, for tests in which it is of no account which."""

from __future__ import annotations

from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge

JUDGE = Judge(load_problem(ProblemConfig(name="largest_number")))
