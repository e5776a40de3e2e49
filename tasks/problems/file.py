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

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property

from thickets.storage.errors import InputError
from thickets.tasks.problems.base import Problem, prompt
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.configured import make_verifier
from thickets.tasks.problems.file_data import FileData
from thickets.tasks.problems.kind import (
    DATA_FIELDS,
    EXAMPLE_FIELDS,
    IMAGE_FIELDS,
    LIKELIHOOD_FIELDS,
    TEST_FIELDS,
    TEXT_FIELDS,
    VERIFIER_FIELDS,
    Kind,
)
from thickets.tasks.types import JSON, Example, Message, Sampling
from thickets.tasks.verifiers import Verifier

_VERSION = 2
_BARE = "{question}"


class FileProblem(FileData):
    """Rows of a file, judged by a verifier. The file is read when its examples are first needed.

    Raises:
        InputError: The config names a verifier that cannot be imported.
    """

    summary = "Your own questions and answers: .jsonl, .csv, .json, .parquet, hf:owner/dataset; judged in many ways."

    def __init__(self, config: ProblemConfig, verifier: Verifier | None = None) -> None:
        super().__init__(config, verifier or make_verifier(config))
        self.sampling = Sampling(max_tokens=self._verifier.max_tokens)
        self.right_at = self._verifier.right_at
        self.metric = self._verifier.metric

    @cached_property
    def instruction(self) -> str:
        """The template in use: the config's, else the verifier's; chat turns in the data are asked as they are.

        The data is read to tell, unless the config has the template.
        """
        if self._config.instruction is not None:
            return self._config.instruction
        try:
            first = next(iter(self._pool), None)
        except InputError:  # a run says so when it reads its questions; nothing is asked before
            first = None
        return self._template(first)

    def identity(self) -> dict[str, JSON]:
        """Return the verifier, the template and the worked examples; the splits hash the data.

        Raises:
            InputError: The worked examples cannot be read.
        """
        shown = [[each.question, each.answer] for each in self._worked]
        worked = {"examples": hashlib.sha256(json.dumps(shown).encode()).hexdigest()} if shown else {}
        return {
            "name": self.name,
            **self.judgement(),
            "instruction": self.instruction,
            "system": self._config.system,
            **worked,
        }

    def judgement(self) -> dict[str, JSON]:
        """Return the verifier."""
        return {"version": _VERSION, "verifier": self._verifier.name, **self._verifier.details}

    def written_out(self) -> ProblemConfig:
        """Return the config with the template and the worked examples in it, so that asking needs no file.

        Raises:
            InputError: The data or the worked examples cannot be read.
        """
        written = {"instruction": self.instruction, "examples": self._worked or None, "n_examples": None}
        return self._config.model_copy(update=written)

    def messages(self, example: Example) -> list[Message]:
        """Return the question in the template: behind the system message, the worked examples and the data's turns."""
        before = list(example.turns)
        own = before.pop(0)["content"] if before and before[0]["role"] == "system" else None
        system = self._config.system if own is None else own
        template = self._template(example)
        shown: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        for each in self._worked:
            shown += prompt(template, None, each.question)
            shown.append({"role": "assistant", "content": each.answer})
        [asked] = prompt(template, None, example.question)
        if example.image is not None:
            asked["image"] = example.image
        return [*shown, *before, asked]

    def extract(self, text: str, example: Example) -> str | None:
        """Return the answer that the verifier finds in the reply."""
        return self._verifier.extract(text, example)

    def extract_all(self, texts: Sequence[str], examples: Sequence[Example]) -> list[str | None]:
        """See `thickets.tasks.problems.base.HasMany`."""
        if self._verifier.extract_all is not None:
            return self._verifier.extract_all(texts, examples)
        return [self.extract(text, example) for text, example in zip(texts, examples, strict=True)]

    def gold(self, example: Example) -> str | None:
        """Return the gold answer as the verifier reads it."""
        return self._verifier.gold(example)

    def span(self, text: str, example: Example) -> tuple[int, int] | None:
        """Return where the verifier finds the answer in a reply, if it can tell."""
        return self._verifier.span(text, example) if self._verifier.span else None

    def score(self, answer: str, example: Example) -> int:
        """Return the verifier's score of the answer."""
        return self._verifier.score(answer, example)

    @property
    def asks_about_images(self) -> bool:
        """See `thickets.tasks.problems.base.HasImages`."""
        return self._config.image_column is not None

    def n_options(self, example: Example) -> int | None:
        """See `thickets.tasks.problems.base.HasOptions`."""
        return self._verifier.n_options(example)

    def lenient(self, text: str, example: Example) -> bool | None:
        """Return whether the reply names the gold answer; ``None`` for a user's own verifier function."""
        return self._verifier.lenient(text, example)

    def _template(self, example: Example | None) -> str:
        if self._config.instruction is not None:
            return self._config.instruction
        return _BARE if example is not None and "turns" in example.metadata else self._verifier.instruction


def written_out(problem: Problem, config: ProblemConfig) -> ProblemConfig:
    """Return a problem's config with all that its prompts need in it, so that asking needs no file.

    Raises:
        InputError: The files of a problem that reads them cannot be read.
    """
    return problem.written_out() if isinstance(problem, FileProblem) else config


KIND = Kind(
    name="file",
    summary=FileProblem.summary,
    make=FileProblem,
    origin="your own data",
    fields=(
        *DATA_FIELDS,
        *("answer_aliases_column", "choices_column", *IMAGE_FIELDS),
        *VERIFIER_FIELDS,
        *TEST_FIELDS,
        *TEXT_FIELDS,
        *("likelihood_of", *LIKELIHOOD_FIELDS),
        *EXAMPLE_FIELDS,
    ),
    default_verifier="exact",
    sample_config={"path": "questions.jsonl", "verifier": "numeric"},
    sample_example=Example("sample", "A shelf holds 4 rows of 6 jars. How many jars is that?", "24"),
)
