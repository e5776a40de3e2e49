"""Every problem by name, with a sample, for ``thickets problems``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from thickets.tasks.problems import countdown, largest_number, reasoning_gym, signals
from thickets.tasks.problems.base import Option, Problem
from thickets.tasks.problems.config import REASONING_GYM_PREFIX, ProblemConfig
from thickets.tasks.problems.countdown import Countdown
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.gsm8k import SAMPLE, Gsm8k
from thickets.tasks.problems.largest_number import LargestNumber
from thickets.tasks.problems.mbpp import SAMPLE as MBPP_SAMPLE
from thickets.tasks.problems.mbpp import Mbpp
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
        options: Returns its settings, named as in a config.
    """

    name: str
    summary: str
    make: Callable[[], tuple[Problem, Example]]
    options: Callable[[], tuple[Option, ...]]

    def sample(self) -> Sample:
        """Make one sample; some generated problems take a second for it."""
        problem, example = self.make()
        return Sample(problem.messages(example)[-1]["content"], example.answer)


def catalogue() -> list[CatalogueEntry]:
    """List every problem: `own_problems`, then `reasoning_gym_problems`.

    Raises:
        InputError: The library is not installed.
    """
    return [*own_problems(), *reasoning_gym_problems()]


def own_problems() -> list[CatalogueEntry]:
    """List the problems that come with thickets, those that need no data first."""
    generated = ProblemConfig(name="largest_number")
    waves = ProblemConfig(name="signals")
    # The user supplies the data of these, so their sample is written here; the path is never opened.
    gsm8k = ProblemConfig(name="gsm8k", path="train.jsonl", test_path="test.jsonl")
    mbpp = ProblemConfig(name="mbpp", path="mbpp.jsonl", sandbox="weak")  # its sample is ours
    own = ProblemConfig(name="file", path="questions.jsonl", verifier="numeric")
    jars = Example("sample", "A shelf holds 4 rows of 6 jars. How many jars is that?", "24")
    return [
        CatalogueEntry(
            "largest_number",
            LargestNumber.summary,
            lambda: _first(LargestNumber(generated)),
            lambda: (*_generated(largest_number.OPTIONS), *_fields(*_VERIFIER)),
        ),
        CatalogueEntry(
            "countdown",
            Countdown.summary,
            lambda: _first(Countdown(ProblemConfig(name="countdown"))),
            lambda: _generated(countdown.OPTIONS),
        ),
        CatalogueEntry("signals", Signals.summary, lambda: _first(Signals(waves)), lambda: _generated(signals.OPTIONS)),
        CatalogueEntry(
            "gsm8k",
            Gsm8k.summary,
            lambda: (Gsm8k(gsm8k), SAMPLE),
            lambda: _fields(*_DATA, *_VERIFIER, *_EXAMPLES, *_PROMPT),
        ),
        CatalogueEntry(
            "mbpp",
            Mbpp.summary,
            lambda: (Mbpp(mbpp), MBPP_SAMPLE),
            lambda: _fields(*_DATA, "tests_column", "sandbox", "right_at", *_EXAMPLES, *_PROMPT),
        ),
        CatalogueEntry(
            "file",
            FileProblem.summary,
            lambda: (FileProblem(own), jars),
            lambda: _fields(*_DATA, *_ANSWERS, *_EXAMPLES, *_PROMPT),
        ),
    ]


def reasoning_gym_problems() -> list[CatalogueEntry]:
    """List every reasoning_gym task with a safe verifier; the library is imported for it, which takes a second.

    Raises:
        InputError: It is not installed.
    """
    return [*map(_reasoning_gym, reasoning_gym.task_names())]


# Fields of the config's problem section.
_PROMPT = ("instruction", "system", "label")
_DATA = ("path", "test_path", "id_column", "question_column", "answer_column")
_VERIFIER = ("verifier", "pattern", "right_at")
_ANSWERS = ("answer_aliases_column", "choices_column", *_VERIFIER, "tests_column", "sandbox")
_EXAMPLES = ("examples", "n_examples")


def _reasoning_gym(task: str) -> CatalogueEntry:
    name = REASONING_GYM_PREFIX + task
    return CatalogueEntry(
        name,
        reasoning_gym.summary(task),
        lambda: _first(reasoning_gym.ReasoningGym(ProblemConfig(name=name))),
        lambda: _generated(reasoning_gym.options(task)),
    )


def _generated(options: Iterable[Option]) -> tuple[Option, ...]:
    """Return the options of a generated problem as a config names them, and the fields that every problem has."""
    return (*(replace(option, name=f"problem.options.{option.name}") for option in options), *_fields(*_PROMPT))


def _fields(*names: str) -> tuple[Option, ...]:
    """Return fields of the problem section as options; a problem with data needs its path."""
    fields = ProblemConfig.model_fields
    return tuple(
        Option(f"problem.{name}", fields[name].default, fields[name].description or "", required=name == "path")
        for name in names
    )


def _first(problem: Problem) -> tuple[Problem, Example]:
    return problem, problem.examples(1, seed=0)[0]
