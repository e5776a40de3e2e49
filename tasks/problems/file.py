"""The user's own questions and answers, from a file or a Hugging Face data set.

Sample (question and answer columns, verifier: numeric):

    {"question": "A shelf holds 4 rows of 6 jars. How many jars is that?", "answer": "24"}

    user:      A shelf holds 4 rows of 6 jars. How many jars is that?

               Think step by step, then give the final number on the last line.
    assistant: 4 * 6 = 24

Source: the user's. Every gold answer is checked when the data is read: one that its own verifier would not mark right
is an error that names the row.
"""

from __future__ import annotations

from functools import cached_property

from thickets.tasks.problems.base import prompt
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.data import Source, read_rows
from thickets.tasks.types import JSON, Example, Message, Sampling
from thickets.tasks.verifiers import CHOICE, EXACT, MATH, NUMERIC, Verifier, function_verifier, regex_verifier

_VERSION = 1


class FileProblem:
    """Rows of a file, judged by a verifier. The file is read when its examples are first needed.

    Raises:
        InputError: The config names a verifier that cannot be imported.
    """

    summary = "Your own questions and answers: .jsonl, .csv, .parquet or hf:owner/dataset; six ways to judge them."

    def __init__(self, config: ProblemConfig, verifier: Verifier | None = None) -> None:
        self.name = config.name
        self._config = config
        self._verifier = verifier or make_verifier(config)
        self._instruction = config.instruction or self._verifier.instruction
        self.sampling = Sampling(max_tokens=self._verifier.max_tokens)
        self.right_at = self._verifier.right_at

    @property
    def instruction(self) -> str:
        """The template in use."""
        return self._instruction

    def identity(self) -> dict[str, JSON]:
        """Return the verifier and the template; the splits hash the data."""
        return {
            "name": self.name,
            **self.judgement(),
            "instruction": self._instruction,
            "system": self._config.system,
        }

    def judgement(self) -> dict[str, JSON]:
        """Return the verifier."""
        return {"version": _VERSION, "verifier": self._verifier.name, **self._verifier.details}

    def examples(self, count: int, seed: int) -> list[Example]:
        """Return the rows of ``problem.path`` in file order, repeated questions dropped; ignore ``count`` and ``seed``.

        Raises:
            InputError: The data cannot be read, or a gold answer is not one the verifier could mark right.
        """
        return list(self._pool)

    def test_examples(self) -> list[Example] | None:
        """Return every row of ``problem.test_path``, or ``None`` if the config has none.

        Raises:
            InputError: As for :meth:`examples`.
        """
        return None if self._official is None else list(self._official)

    def read(self, field: str, location: str) -> list[Example]:
        """Read another file with the checks of the problem's own data.

        Args:
            field: Option or config field that names the file, for errors.
            location: As ``problem.path``.

        Raises:
            InputError: As for :meth:`examples`.
        """
        return self._read(field, location, "test")

    def messages(self, example: Example) -> list[Message]:
        """Return the question in the template."""
        return prompt(self._instruction, self._config.system, example.question)

    def extract(self, text: str, example: Example) -> str | None:
        """Return the answer that the verifier finds in the reply."""
        return self._verifier.extract(text, example)

    def score(self, answer: str, example: Example) -> int:
        """Return the verifier's score of the answer."""
        return self._verifier.score(answer, example)

    def lenient(self, text: str, example: Example) -> bool | None:
        """Return whether the reply names the gold answer; ``None`` for a user's own verifier function."""
        return self._verifier.lenient(text, example)

    @cached_property
    def _pool(self) -> list[Example]:
        assert self._config.path is not None  # ProblemConfig requires it
        return self._read("problem.path", self._config.path, "train")

    @cached_property
    def _official(self) -> list[Example] | None:
        location = self._config.test_path
        return None if location is None else self._read("problem.test_path", location, "test")

    def _read(self, field: str, location: str, default_split: str) -> list[Example]:
        source = Source(
            field=field,
            location=location,
            default_split=default_split,
            id_column=self._config.id_column,
            question_column=self._config.question_column,
            answer_column=self._config.answer_column,
            keep_columns=self._verifier.uses_columns,
        )
        rows = read_rows(source)
        for row in rows:
            if not self._verifier.accepts(self._verifier.gold(row.example), row.example):
                raise source.error(
                    f"the gold answer {row.example.answer[-60:]!r} cannot be judged by verifier "
                    f"{self._verifier.name}: {self._verifier.gold_rule}",
                    row.place,
                )
        return [row.example for row in rows]


def make_verifier(config: ProblemConfig) -> Verifier:
    """Return the verifier that a config names.

    Raises:
        InputError: The user's own function cannot be imported.
    """
    match config.verifier:
        case None | "exact":
            return EXACT
        case "numeric":
            return NUMERIC
        case "math":
            return MATH
        case "choice":
            return CHOICE
        case "regex":
            assert config.pattern is not None  # ProblemConfig requires it
            return regex_verifier(config.pattern)
        case function:
            return function_verifier(function, config.right_at)
