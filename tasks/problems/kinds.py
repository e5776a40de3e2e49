"""Every problem that there is; a new one is a module with a ``KIND`` and a name here."""

from __future__ import annotations

from thickets.tasks.problems import (
    choice,
    classification,
    countdown,
    file,
    gqa,
    gsm8k,
    largest_number,
    math500,
    mbpp,
    olympiadbench,
    reasoning_gym,
    rocstories,
    signals,
    uspto50k,
)
from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.kind import Kind, find_kind, look_elsewhere, own_kinds, register
from thickets.tasks.problems.plugins import plugin_kinds

# Those that need no data come first.
for _module in (
    *(largest_number, countdown, signals),
    *(gsm8k, math500, olympiadbench, mbpp, rocstories, uspto50k, gqa),
    *(classification, choice, file, reasoning_gym),
):
    register(_module.KIND)
look_elsewhere(plugin_kinds)


def all_kinds() -> list[Kind]:
    """List every problem, tasks of reasoning_gym last.

    Raises:
        InputError: That library is not installed.
    """
    return [*own_kinds(), *reasoning_gym.kinds()]


def load_problem(config: ProblemConfig) -> Problem:
    """Build the problem that a config names; a file is read when its examples are first needed.

    Raises:
        InputError: The config has an option that the problem does not take, or a verifier that cannot be used.
    """
    kind = find_kind(config.name)
    assert kind is not None  # ProblemConfig has checked the name
    return kind.make(config)
