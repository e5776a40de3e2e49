"""Says of a stored verdict where the answer stands in the reply and why it was judged so; judges nothing again."""

from __future__ import annotations

from dataclasses import dataclass

from thickets.flows.check.prompt import Gold, read_gold
from thickets.flows.check.verdict import place_of, reason
from thickets.flows.config.file import load_config
from thickets.storage.errors import InputError
from thickets.storage.home import RunFolder
from thickets.tasks.problems import find_kind, load_problem
from thickets.tasks.problems.judging import Judge, Verdict
from thickets.tasks.types import Example


@dataclass(frozen=True, slots=True)
class Explainer:
    """The rules of a run.

    Attributes:
        judge: None where they cannot be had: the configuration is of another version, or names code of its own, which
            looking at a run must not start.
        name: Of the verifier.
    """

    judge: Judge | None
    name: str = ""

    def place(self, example: Example, reply: str, answer: str | None) -> tuple[int, int] | None:
        """Return where the extracted answer stands in a reply, as far as that can be told."""
        if self.judge is None:
            return None
        try:
            return place_of(self.judge, example, reply, answer)
        except (InputError, LookupError, ValueError):  # a verifier that needs more of the data than a run keeps
            return None

    def why(self, example: Example, reply: str, found: Verdict) -> str:
        """Return a verdict with its reason in a line."""
        plain = "abstains" if found.answer is None else "right" if found.correct else "wrong"
        if self.judge is None:
            return plain
        try:
            return reason(self.judge, self.name, self._gold(example), reply, found)
        except (InputError, LookupError, ValueError):
            return plain

    def _gold(self, example: Example) -> Gold:
        assert self.judge is not None
        try:
            return read_gold(self.judge.problem, example)
        except (InputError, LookupError, ValueError):  # a verifier that needs more of the data than a run keeps
            return Gold(written=example.answer, read=None)


def explainer_of(folder: RunFolder) -> Explainer:
    """Return the rules of a run; no code that its configuration names is imported."""
    try:
        config = load_config(str(folder.config))
        problem = config.single_problem
        name = problem.verifier or ("exact" if problem.name == "file" else problem.name)
        kind = find_kind(problem.name)
        if ":" in name or kind is None or kind.source:
            return Explainer(None, name)
        return Explainer(Judge(load_problem(problem), config.decoding.reasoning), name)
    except (InputError, ImportError, ValueError, OSError):
        return Explainer(None)


class Rules:
    """The rules of the runs that were looked at."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Explainer] = {}

    def of(self, folder: RunFolder) -> Explainer:
        """Return the rules of a run; they are read again only when its configuration has changed."""
        key = (folder.run_id, folder.config.stat().st_mtime_ns if folder.config.is_file() else 0)
        if key not in self._known:
            self._known[key] = explainer_of(folder)
        return self._known[key]
