"""reasoning_gym tasks: gold answers score 1.0, near misses nothing, and no verifier runs what a model wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.reasoning_gym import ReasoningGym, library, task_names
from thickets.tasks.problems.reasoning_gym_tasks import ARITHMETIC, UNSAFE, UNUSABLE
from thickets.tasks.types import Example

ROOT = Path(__file__).parents[3]

QUICK = [
    "aiw", "base_conversion", "basic_arithmetic", "bitwise_arithmetic", "caesar_cipher", "calendar_arithmetic",
    "chain_sum", "circuit_logic", "complex_arithmetic", "count_bits", "decimal_arithmetic", "fraction_simplification",
    "gcd", "group_anagrams", "knights_knaves", "lcm", "leg_counting", "letter_counting", "manipulate_matrix",
    "mini_sudoku", "number_sorting", "polynomial_equations", "pool_matrix", "prime_factorization", "products",
    "rotate_matrix", "simple_equations", "spell_backward", "time_intervals", "tower_of_hanoi", "word_sorting",
]  # fmt: skip


def problem(task: str, **values: Any) -> ReasoningGym:
    return ReasoningGym(ProblemConfig(name=f"reasoning_gym:{task}", **values))


def right(made: ReasoningGym, reply: str, example: Example) -> bool:
    answer = made.extract(reply, example)
    return answer is not None and made.score(answer, example)


@pytest.mark.parametrize("task", QUICK)
def test_gold_answers_score_one_and_other_answers_nothing(task: str) -> None:
    made = problem(task)
    examples = made.examples(8, seed=0)
    assert len({example.question for example in examples}) == 8
    for example in examples:
        assert right(made, f"So it is <answer>{example.answer}</answer>", example)
        assert right(made, f"<answer>{example.answer}", example)  # as an engine leaves it after the stop string
        for wrong in ("xyzzy", "nan", "[NaN, NaN]", "1e99999999", "(((("):
            assert not right(made, f"<answer>{wrong}</answer>", example), wrong
    json.dumps([example.metadata for example in examples])


@pytest.mark.parametrize("task", sorted(set(task_names()) - set(QUICK)))
def test_gold_answers_of_every_other_task_score_one(task: str) -> None:
    made = problem(task)
    for example in made.examples(3, seed=1):
        assert right(made, f"<answer>{example.answer}</answer>", example)
        assert not right(made, "<answer>xyzzy</answer>", example)


_DIGEST = """
import hashlib, sys
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.reasoning_gym import task_names
for task in task_names():
    examples = load_problem(ProblemConfig(name="reasoning_gym:" + task)).examples(8, seed=5)
    print(task, hashlib.sha256(repr(examples).encode()).hexdigest())
"""


@pytest.mark.slow
def test_no_offered_task_depends_on_the_hash_seed() -> None:
    def digests(hash_seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-W", "ignore", "-c", _DIGEST]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert digests("1") == digests("2")


def test_the_verifier_makes_the_question_again_in_another_process() -> None:
    (example, *_) = problem("chain_sum").examples(3, seed=0)
    fresh = problem("chain_sum")
    assert fresh.score(example.answer, example)
    other = problem("chain_sum", options={"min_terms": 5, "max_terms": 6})
    with pytest.raises(InputError, match=r"cannot be made again"):
        other.score(example.answer, example)


def test_partial_credit_is_not_a_right_answer() -> None:
    made = problem("time_intervals")
    example = next(e for e in made.examples(40, seed=0) if e.answer.count(":") == 1 and "day" not in e.answer)
    hours, minutes = example.answer.split(":")
    near = f"{hours}:{(int(minutes) + 1) % 60:02d}"
    assert right(made, f"<answer>{example.answer}</answer>", example)
    assert not right(made, f"<answer>{near}</answer>", example)


def test_the_answer_counts_with_and_without_the_tags() -> None:
    made = problem("chain_sum")
    (example,) = made.examples(1, seed=0)
    for reply in (f"<answer>{example.answer}</answer>", f"The answer is {example.answer}.", f"Hm.\n{example.answer}"):
        assert right(made, reply, example)


def test_neighbouring_seeds_share_no_questions() -> None:
    made = problem("chain_sum", options={"min_digits": 4, "max_digits": 5})
    first = {example.question for example in made.examples(50, seed=0)}
    assert not first & {example.question for example in made.examples(50, seed=1)}


@pytest.mark.parametrize("task", sorted(UNSAFE))
def test_a_verifier_that_runs_the_answer_is_refused_until_it_is_allowed(task: str) -> None:
    with pytest.raises(InputError, match=rf"problem.name is 'reasoning_gym:{task}', which is refused: .*allow_unsafe"):
        problem(task)
    made = problem(task, allow_unsafe_verifier=True)
    (example,) = made.examples(1, seed=0)
    assert right(made, f"<answer>{example.answer}</answer>", example)


@pytest.mark.parametrize("task", sorted(ARITHMETIC))
def test_a_verifier_that_parses_expressions_sees_plain_arithmetic_only(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = problem(task)
    (example,) = made.examples(1, seed=0)
    assert right(made, f"<answer>{example.answer}</answer>", example)
    seen: list[str] = []
    dataset = made._dataset(example.metadata["seed"], example.metadata["size"])
    monkeypatch.setattr(dataset, "score_answer", lambda answer, entry: seen.append(answer) or 1.0)
    hostile = ["__import__('os').getcwd()", "9**9**9**9", "factorial(99)", "x", "1" * 301, "0x10", "1e9", "(1).real"]
    for answer in hostile:
        assert not made.score(answer, example)
    assert seen == []
    assert made.score("(1 + 2) * 3 / 4 - 5", example)


def test_without_pycosat_every_task_but_one_works() -> None:
    code = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "pycosat" else find(name, *rest)
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.reasoning_gym import task_names
assert "zebra_puzzles" not in task_names() and len(task_names()) > 80
assert "pycosat" not in sys.modules
load_problem(ProblemConfig(name="reasoning_gym:zebra_puzzles"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "which needs pycosat: pip install pycosat" in done.stderr


@pytest.mark.parametrize("task", sorted(UNUSABLE))
def test_a_task_that_proves_nothing_is_refused(task: str) -> None:
    for allow in (False, True):
        with pytest.raises(InputError, match=r"which cannot be used: "):
            problem(task, allow_unsafe_verifier=allow)


def test_no_offered_verifier_calls_eval() -> None:
    """Every source file of an offered task that mentions eval, exec or a sympy parser was read; new ones are not."""
    import inspect

    read = {
        "bitwise_arithmetic": "evaluates its own expression",
        "number_sorting": "evaluates its own gold answer",
        "basic_arithmetic": "evaluates its own expression",
        "countdown": "sees plain arithmetic only",
        "puzzle24": "sees plain arithmetic only",
    }
    calls = ("eval(", "exec(", "parse_expr(", "sympify(", "parse_latex(", "pickle", "subprocess")
    for task in task_names():
        dataset, _ = library().factory.DATASETS[task]
        source = inspect.getsource(inspect.getmodule(dataset))  # type: ignore[arg-type]
        assert task in read or not any(call in source for call in calls), task


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        ("chain_sums", {}, r"has no task 'chain_sums'; close to it are chain_sum"),
        ("chain_sum", {"options": {"terms": 3}}, r"does not take: .*terms.*; it takes .*max_terms"),
        (
            "chain_sum",
            {"options": {"min_terms": 9, "max_terms": 2}},
            r"which reasoning_gym task chain_sum does not take",
        ),
        ("chain_sum", {"options": {"seed": 3}}, r"problem.options.seed is 3; remove it"),
        ("chain_sum", {"options": {"size": 3}}, r"problem.options.size is 3; remove it"),
    ],
)
def test_what_a_task_cannot_take_is_named(task: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        problem(task, **values)


def test_a_task_that_runs_out_of_questions_says_so() -> None:
    made = problem("chain_sum", options={"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})
    with pytest.raises(InputError, match=r"made only \d+ distinct questions in \d+ draws, 2000 are needed"):
        made.examples(2000, seed=0)


def test_identity_names_the_library_version_and_the_options() -> None:
    identity = problem("chain_sum", options={"max_terms": 3}).identity()
    assert identity["reasoning_gym"]
    assert identity["options"] == {"max_terms": 3}
    assert load_problem(ProblemConfig(name="reasoning_gym:chain_sum")).identity() != identity
