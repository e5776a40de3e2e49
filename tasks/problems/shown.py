"""A problem as ``thickets problems`` shows it: its settings, and one question with its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from thickets.tasks.problems.base import Option, Problem
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.kind import PROMPT_FIELDS, Kind
from thickets.tasks.types import Example


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt of a problem, and its gold answer."""

    prompt: str
    answer: str


def shown(kind: Kind) -> tuple[Problem, Example]:
    """Return the problem and one example; some generated problems take a second for it."""
    problem = kind.make(ProblemConfig.model_validate({"name": kind.name, **kind.sample_config}))
    return problem, kind.sample_example or problem.examples(1, seed=0)[0]


def sample(kind: Kind) -> Sample:
    """Return a prompt and its gold answer."""
    problem, example = shown(kind)
    return Sample(problem.messages(example)[-1]["content"], example.answer)


def settings(kind: Kind) -> list[Option]:
    """Return everything that a config can set about a problem, with its defaults, under the config's names."""
    own = [replace(option, name=f"problem.options.{option.name}") for option in kind.options()]
    named = (name for name in (*kind.fields, *PROMPT_FIELDS) if name != "options")
    return [*own, *(_field(kind, name) for name in named)]


def _field(kind: Kind, name: str) -> Option:
    field = ProblemConfig.model_fields[name]
    default = kind.columns.get(name, field.default)
    return Option(f"problem.{name}", default, field.description or "", required=name == "path")
