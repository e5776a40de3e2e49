"""What a problem declares about itself, and the table of these; all that lists, checks or builds problems reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from thickets.tasks.problems.base import Option, Problem
from thickets.tasks.types import Example

# Fields of the config's problem section, in groups that problems take together.
PROMPT_FIELDS = ("instruction", "system", "label")
"""What every problem takes."""
DATA_FIELDS = ("path", "test_path", "id_column", "question_column", "answer_column")
VERIFIER_FIELDS = ("verifier", "pattern", "right_at")
TEST_FIELDS = ("tests_column", "sandbox")
EXAMPLE_FIELDS = ("examples", "n_examples")


@dataclass(frozen=True)
class Kind:
    """A problem that a config can name.

    Attributes:
        name: Value of ``problem.name``; one that ends in ``:TASK`` stands for every name with that beginning.
        summary: One line for ``thickets problems``.
        make: Builds it of its `ProblemConfig`, without reading its data.
        fields: What it takes of the config's problem section besides `PROMPT_FIELDS`; ``path`` where it reads data.
        columns: Fields whose default is another here: names of the data's columns.
        verifiers: Values of ``problem.verifier`` that it allows; None: all.
        default_verifier: What judges where the config says nothing; None: a way of its own.
        options: Returns what ``problem.options`` may hold; a call, as a library may have to be imported for it.
        sample_config: Fields of the section with which it is shown; a path in them is never opened.
        sample_example: What is shown, in the form of the data; None: the first example that it makes.
    """

    name: str
    summary: str
    make: Callable[..., Problem]
    fields: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    verifiers: tuple[str, ...] | None = None
    default_verifier: str | None = None
    options: Callable[[], tuple[Option, ...]] = tuple
    sample_config: Mapping[str, str] = field(default_factory=dict)
    sample_example: Example | None = None

    @property
    def reads_data(self) -> bool:
        """Whether its questions come from data that a config names."""
        return "path" in self.fields


_TASK = ":TASK"
_known: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Put a problem on the table, at its end."""
    _known[kind.name] = kind


def own_kinds() -> list[Kind]:
    """List the problems that have a name of their own, in the order of the table."""
    return [kind for name, kind in _known.items() if not name.endswith(_TASK)]


def find_kind(name: str) -> Kind | None:
    """Return the problem of a name, or what stands for all names with its beginning."""
    family, _, task = name.partition(":")
    return _known.get(f"{family}{_TASK}") if task else _known.get(name)
