"""What a problem declares about itself, and the table of these; all that lists, checks or builds problems reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from thickets.tasks.problems.base import Option, Problem
from thickets.tasks.types import Example

# Fields of the config's problem section, in groups that problems take together.
PROMPT_FIELDS = ("instruction", "system", "label")
"""What every problem takes."""
DATA_FIELDS = ("path", "test_path", "id_column", "question_column", "answer_column")
IMAGE_FIELDS = ("image_column",)
REWARD_FIELDS = ("votes", "answer_form", "score_range")
"""Those of reward functions of trainers."""
VERIFIER_FIELDS = ("verifier", "pattern", "right_at", *REWARD_FIELDS)
TEST_FIELDS = ("tests_column", "sandbox")
TEXT_FIELDS = ("metric",)
EXAMPLE_FIELDS = ("examples", "n_examples")
LIKELIHOOD_FIELDS = ("scoring", "likelihood_per")


@dataclass(frozen=True)
class Kind:
    """A problem that a config can name.

    Attributes:
        name: Value of ``problem.name``; one that ends in ``:TASK`` stands for every name with that beginning.
        summary: One line for ``thickets problems``.
        make: Builds it of its `ProblemConfig`, without reading its data.
        fields: What it takes of the config's problem section besides `PROMPT_FIELDS`; ``path`` where it reads data.
        makes_questions: Whether it makes questions by its options where a config names no data.
        columns: Fields whose default is another here: names of the data's columns.
        verifiers: Values of ``problem.verifier`` that it allows; None: all.
        default_verifier: What judges where the config says nothing; None: a way of its own.
        one_column: Whether question and answer may be parts of one column.
        options: Returns what ``problem.options`` may hold; a call, as a library may have to be imported for it.
        sample_config: Fields of the section with which it is shown; a path in them is never opened.
        sample_example: What is shown, in the form of the data; None: the first example that it makes.
        origin: Where its questions come from, and their licence.
        source: The package that it comes from, with its version; empty: it comes with thickets. Is set when it is read.
    """

    name: str
    summary: str
    make: Callable[..., Problem]
    fields: tuple[str, ...]
    makes_questions: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    verifiers: tuple[str, ...] | None = None
    default_verifier: str | None = None
    one_column: bool = False
    options: Callable[[], tuple[Option, ...]] = tuple
    sample_config: Mapping[str, Any] = field(default_factory=dict)
    sample_example: Example | None = None
    origin: str = ""
    source: str = ""

    @property
    def reads_data(self) -> bool:
        """Whether its questions come from data that a config must name."""
        return "path" in self.fields and not self.makes_questions


_TASK = ":TASK"
_known: dict[str, Kind] = {}
_elsewhere: list[Callable[[dict[str, Kind]], dict[str, Kind]]] = []


def register(kind: Kind) -> None:
    """Put a problem on the table, at its end."""
    _known[kind.name] = kind


def look_elsewhere(find: Callable[[dict[str, Kind]], dict[str, Kind]]) -> None:
    """Ask a function for further problems by name, given those on the table, when one is first needed."""
    _elsewhere.append(find)


def own_kinds() -> list[Kind]:
    """List the problems that have a name of their own: in the order of the table, then those of installed packages."""
    return [kind for name, kind in _known.items() if not name.endswith(_TASK)] + list(_of_packages().values())


def find_kind(name: str) -> Kind | None:
    """Return the problem of a name, or what stands for all names with its beginning."""
    family, _, task = name.partition(":")
    if task:
        return _known.get(f"{family}{_TASK}")
    return _known.get(name) or _of_packages().get(name)


@cache
def _of_packages() -> dict[str, Kind]:
    """Look for problems of installed packages, when they are first asked for: the packages import this one."""
    return {name: kind for find in _elsewhere for name, kind in find(_known).items()}
