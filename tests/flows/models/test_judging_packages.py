"""A logged model brings the library that its verifier needs, of whichever problem."""

from __future__ import annotations

import pytest

from thickets.flows.models.logged import judging_packages
from thickets.tasks.problems import ProblemConfig, load_problem

DATA = {"path": "none.jsonl"}


@pytest.mark.parametrize(
    ("config", "packages"),
    [
        ({"name": "file", "verifier": "math", **DATA}, ["math-verify"]),
        ({"name": "math500", **DATA}, ["math-verify"]),
        ({"name": "olympiadbench", **DATA}, ["math-verify"]),
        ({"name": "file", "verifier": "molecule", **DATA}, ["rdkit"]),
        ({"name": "uspto50k", **DATA}, ["rdkit"]),
        ({"name": "uspto50k", "options": {"task": "class"}, **DATA}, []),
        ({"name": "gsm8k", **DATA}, []),
        ({"name": "largest_number"}, []),
    ],
    ids=range(8),
)
def test_the_package_of_a_problem(config: dict, packages: list[str]) -> None:
    assert judging_packages(load_problem(ProblemConfig(**config)).judgement()) == packages
