"""Any task of the reasoning_gym library, with ``<answer>`` tags in the prompt and the task's own verifier.

Sample (reasoning_gym:chain_sum):

    user:      State the final answer to the following arithmetic problem: 4 + 3 =

               Give the final answer between <answer> and </answer>.
    assistant: <answer>7</answer>

Source: https://github.com/open-thought/reasoning-gym (Apache-2.0), the installed version. An answer is right where the
task's ``score_answer`` gives full marks: partial credit is for training with rewards, not for counting.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import io
import re
import sys
import warnings
from functools import cache, partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.problems.base import Option, prompt
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.fields import REASONING_GYM_PREFIX
from thickets.tasks.problems.kind import Kind
from thickets.tasks.problems.reasoning_gym_tasks import ARITHMETIC, NEEDS_PACKAGE, UNSAFE, UNUSABLE
from thickets.tasks.types import FULL, JSON, Example, Message, Sampling, question_id
from thickets.tasks.verifiers.lenient import as_number, lenient_match
from thickets.tasks.verifiers.marks import final_answer

INSTRUCTION = "{question}\n\nGive the final answer between <answer> and </answer>."
_VERSION = 2
# Not 0.999: time_intervals gives 0.9992 for an answer that is a minute off. Full marks, less the rounding of floats.
_CORRECT = 1 - 1e-9
# Draws per question, before a task counts as unable to make so many distinct ones.
_DRAWS = 4
_MAX_ANSWER = 20_000

# Answers that no verifier gets unless the gold answer matches too: Fraction("1e99999999") never returns, and
# comparisons with NaN make some verifiers say 1.0 (complex_arithmetic, number_sorting).
_ARITHMETIC = re.compile(r"[0-9+\-*/() ]{1,300}")
_HOSTILE = re.compile(r"\d[eE][-+]?\d{4,}|\b(?:nan|inf|infinity)\b", re.IGNORECASE)


class ReasoningGym:
    """One task of the library.

    An example keeps only its origin (seed, size and index of the data set): the library's own record of it, which the
    verifier needs, holds tuples and objects that JSON cannot carry, and is made again when needed.

    Raises:
        InputError: The task does not exist, cannot be used, has an unsafe verifier that the config does not allow, or
            does not take an option.
    """

    sampling = Sampling(max_tokens=512, stop=("</answer>",))
    right_at = FULL

    def __init__(self, config: ProblemConfig) -> None:
        self.name = config.name
        self._task = config.name.removeprefix(REASONING_GYM_PREFIX)
        self._instruction = config.instruction or INSTRUCTION
        self._system = config.system
        self._options = config.options
        _check_task(self._task, config.allow_unsafe_verifier)
        for option in ("seed", "size"):
            if option in self._options:
                raise InputError(
                    f"problem.options.{option} is {self._options[option]!r}; remove it, the run's own seed and split "
                    "sizes decide which questions are made and how many"
                )
        self.summary = summary(self._task)
        self._datasets: dict[tuple[int, int], Any] = {}
        self._entries: dict[tuple[int, int, int], dict[str, Any]] = {}
        self._dataset(0, 1)  # an option the task does not take is found now and not in the middle of a run

    @property
    def instruction(self) -> str:
        """The template in use."""
        return self._instruction

    def identity(self) -> dict[str, JSON]:
        """Return the library's version, the options and the template."""
        return {
            **self.judgement(),
            "instruction": self._instruction,
            "system": self._system,
        }

    def judgement(self) -> dict[str, JSON]:
        """Return the library's version and the options, of which the task's verifier may make use."""
        return {
            "name": self.name,
            "version": _VERSION,
            "reasoning_gym": importlib.metadata.version("reasoning-gym"),
            "options": self._options,
        }

    def examples(self, count: int, seed: int) -> list[Example]:
        """Make ``count`` distinct questions whose gold answer the task's own verifier accepts.

        Raises:
            InputError: The task does not make so many distinct questions with these options.
        """
        # The library numbers its questions seed + index, so neighbouring seeds share nearly all of them: hash first.
        # 31 bits, because one task hands the sum to numpy.random.seed.
        key = int.from_bytes(hashlib.blake2b(f"{self._task}:{seed}".encode(), digest_size=4).digest()) >> 1
        size = _DRAWS * count + 20
        found: dict[str, Example] = {}
        for index in range(size):
            if len(found) == count:
                break
            entry = self._entry(key, size, index)
            question, answer = entry["question"].strip(), entry["answer"]
            if question in found or not isinstance(answer, str) or not answer.strip():
                continue
            example = Example(question_id(question), question, answer, {"seed": key, "size": size, "index": index})
            if self._proves_itself(example):
                found[question] = example
        if len(found) < count:
            raise InputError(
                f"problem {self.name} made only {len(found)} distinct questions in {size} draws, {count} are needed: "
                f"{count - len(found)} are missing; ask for fewer or widen problem.options"
            )
        return list(found.values())

    def test_examples(self) -> None:
        """Return None: questions are generated, so any of them can be held out."""
        return

    def messages(self, example: Example) -> list[Message]:
        """Return the question in the template, which requests ``<answer>`` tags."""
        return prompt(self._instruction, self._system, example.question)

    def extract(self, text: str, example: Example) -> str | None:
        r"""Return what the ``<answer>`` tag or ``\boxed{}`` holds, else what follows "answer is", else the last line.

        Votes are on exact text: only the task knows whether 007 is 7, and its verifier tells only right from wrong.
        """
        return final_answer(text)

    def gold(self, example: Example) -> str:
        """Return the whole gold answer: only in a reply is an answer looked for."""
        return example.answer

    def score(self, answer: str, example: Example) -> int:
        """Return full marks where the task's own ``score_answer`` gives them, else 0."""
        if len(answer) > _MAX_ANSWER + len(example.answer):
            return 0
        if _HOSTILE.search(answer) and not _HOSTILE.search(example.answer):
            return 0
        if self._task in ARITHMETIC and not is_arithmetic(answer):
            return 0
        where = example.metadata
        entry = self._entry(where["seed"], where["size"], where["index"])
        if entry["question"].strip() != example.question:
            raise InputError(
                f"question {example.id} of {self.name} cannot be made again; the run was started with another version "
                "of reasoning_gym or other problem.options"
            )
        dataset = self._dataset(where["seed"], where["size"])
        try:
            score = float(dataset.score_answer(answer, entry))
        except Exception:
            # Several of the library's verifiers raise on text that is not an answer, so that text is wrong.
            return 0
        return FULL * (score >= _CORRECT)

    def lenient(self, text: str, example: Example) -> bool | None:
        """Return whether the reply names the gold answer.

        ``None`` for a reply without it, unless the gold answer is a number: other questions may have several answers.
        """
        found = lenient_match(text, example.answer, example.question)
        return None if found is False and as_number(example.answer) is None else found

    def _proves_itself(self, example: Example) -> bool:
        answer = self.extract(f"<answer>{example.answer}</answer>", example)
        return answer is not None and self.score(answer, example) == FULL

    def _dataset(self, seed: int, size: int) -> Any:
        if (seed, size) not in self._datasets:
            try:
                dataset = library().create_dataset(self._task, seed=seed, size=size, **self._options)
            except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise InputError(
                    f"problem.options is {self._options!r}, which reasoning_gym task {self._task} does not take: "
                    f"{reason}; it takes {', '.join(option.name for option in options(self._task))}"
                ) from error
            self._datasets[seed, size] = dataset
        return self._datasets[seed, size]

    def _entry(self, seed: int, size: int, index: int) -> dict[str, Any]:
        if (seed, size, index) not in self._entries:
            with contextlib.redirect_stdout(io.StringIO()):  # some tasks print
                self._entries[seed, size, index] = self._dataset(seed, size)[index]
        return self._entries[seed, size, index]


def is_arithmetic(answer: str) -> bool:
    """Return whether an answer is digits, ``+ - * /`` and brackets alone; no powers, which could run for ever."""
    return bool(_ARITHMETIC.fullmatch(answer)) and "**" not in answer


@cache
def library() -> ModuleType:
    """Import the reasoning_gym package when it is first needed, because that takes seconds.

    Raises:
        InputError: It is not installed.
    """
    # The package imports these although one task alone uses each; an empty stand-in lets all others work.
    absent = [name for name in NEEDS_PACKAGE.values() if find_spec(name) is None]
    sys.modules.update({name: ModuleType(name) for name in absent})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its sources hold invalid escape sequences
            import reasoning_gym
    except ImportError as error:
        raise InputError(
            f"problem.name names a reasoning_gym task, but the library cannot be imported ({error}); "
            "install it with: pip install 'thickets[reasoning-gym]' and pip install --no-deps reasoning-gym==0.1.25"
        ) from None
    finally:
        for name in absent:
            del sys.modules[name]
    return reasoning_gym


def task_names() -> list[str]:
    """List the tasks that are usable here without allowing an unsafe verifier, in alphabetical order."""
    lacking = {task for task, package in NEEDS_PACKAGE.items() if find_spec(package) is None}
    return sorted(set(library().factory.DATASETS) - set(UNSAFE) - set(UNUSABLE) - lacking)


def summary(task: str) -> str:
    """Describe a task in a line, by the library's category and the task's name: its docstrings are no summaries."""
    dataset, _ = library().factory.DATASETS[task]
    category = dataset.__module__.split(".")[1]
    return f"Generated ({category}): {task.replace('_', ' ')}, judged by reasoning_gym's verifier."


def _check_task(task: str, allow_unsafe: bool) -> None:
    if task not in library().factory.DATASETS:
        import difflib

        close = difflib.get_close_matches(task, task_names(), n=3) or ["chain_sum"]
        raise InputError(
            f"problem.name is {REASONING_GYM_PREFIX + task!r}, but reasoning_gym has no task {task!r}; close to it are "
            f"{', '.join(close)} (`thickets problems` lists all)"
        )
    if task in UNUSABLE:
        raise InputError(f"problem.name is {REASONING_GYM_PREFIX + task!r}, which cannot be used: {UNUSABLE[task]}")
    package = NEEDS_PACKAGE.get(task)
    if package and find_spec(package) is None:
        raise InputError(
            f"problem.name is {REASONING_GYM_PREFIX + task!r}, which needs {package}: pip install {package} "
            "(compiles, so a C compiler is needed), or take another task"
        )
    if task in UNSAFE and not allow_unsafe:
        raise InputError(
            f"problem.name is {REASONING_GYM_PREFIX + task!r}, which is refused: {UNSAFE[task]}, so what a model "
            "writes could run as a program on this machine; set problem.allow_unsafe_verifier: true in a sandbox, or "
            "take another task"
        )


def options(task: str) -> tuple[Option, ...]:
    """Return the options of a task with their defaults; the library says nothing else about them."""
    _, config = library().factory.DATASETS[task]
    return tuple(
        Option(each.name, each.default if each.default_factory is dataclasses.MISSING else each.default_factory())
        for each in sorted(dataclasses.fields(config), key=lambda each: each.name)
        if each.name not in ("seed", "size")
    )


KIND = Kind(
    name=f"{REASONING_GYM_PREFIX}TASK",
    summary="Generated: one of reasoning_gym's tasks.",
    make=ReasoningGym,
    origin="reasoning-gym; Apache 2.0",
    fields=("options", "allow_unsafe_verifier"),
)
"""What all tasks have in common."""


def kinds() -> list[Kind]:
    """List every task that is usable here; the library is imported for it, which takes a second.

    Raises:
        InputError: It is not installed.
    """
    return [
        dataclasses.replace(
            KIND, name=REASONING_GYM_PREFIX + task, summary=summary(task), options=partial(options, task)
        )
        for task in task_names()
    ]
