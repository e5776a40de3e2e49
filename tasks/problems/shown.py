"""A problem as ``thickets problems`` shows it: its settings, one question with its answer, and a small data file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from thickets.tasks.problems.base import Option, Problem
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.fields import RIGHT_AT
from thickets.tasks.problems.kind import PROMPT_FIELDS, Kind
from thickets.tasks.types import Example

_GENERATED = 8  # questions of a generated problem


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
    asked = problem.messages(example)[-1]
    before = f"[image: {asked['image'].name}]\n" if "image" in asked else ""
    return Sample(before + asked["content"], example.answer)


def sample_data(kind: Kind) -> str:
    """Return a small data file as text, one JSON object a line, all of our own writing.

    Of a problem that reads data, in the form of that data, so that it is at once asked as ``problem.path``: the file
    ``samples/NAME.jsonl``, or one row where there is none. Of a generated problem, questions as they are asked.
    """
    if not kind.reads_data:
        problem, _ = shown(kind)
        made = problem.examples(_GENERATED, seed=0)
        rows = [{"question": problem.messages(each)[-1]["content"], "answer": each.answer} for each in made]
        return _lines(rows)
    kept = resources.files("thickets.tasks.problems").joinpath("samples", f"{kind.name}.jsonl")
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    _, example = shown(kind)
    columns = ProblemConfig.model_validate({"name": kind.name, **kind.sample_config}).with_own_columns()
    row = {columns.question_column: example.question, columns.answer_column: example.answer, **example.metadata}
    return _lines([row])


def sample_images(kind: Kind) -> dict[str, bytes]:
    """Return the images that the rows of `sample_data` name, by their paths from the folder of the data file."""
    folder = resources.files("thickets.tasks.problems").joinpath("samples", kind.name)
    if not folder.is_dir():
        return {}
    return {f"{kind.name}/{file.name}": file.read_bytes() for file in folder.iterdir()}


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def settings(kind: Kind) -> list[Option]:
    """Return everything that a config can set about a problem, with its defaults, under the config's names."""
    own = [replace(option, name=f"problem.options.{option.name}") for option in kind.options()]
    named = (name for name in (*kind.fields, *PROMPT_FIELDS) if name != "options")
    return [*own, *(_field(kind, name) for name in named)]


def _field(kind: Kind, name: str) -> Option:
    field = ProblemConfig.model_fields[name]
    default = kind.columns.get(name, field.default)
    if name == "right_at":
        default = RIGHT_AT.get(kind.default_verifier or "", default)
    return Option(f"problem.{name}", default, field.description or "", required=name == "path" and kind.reads_data)
