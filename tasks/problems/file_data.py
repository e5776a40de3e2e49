"""The rows of a problem's files: read when they are first needed, each checked by the verifier that judges replies."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.datafiles import Row, Source, read_rows
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.fields import WorkedExample
from thickets.tasks.problems.kind import find_kind
from thickets.tasks.problems.labelled import options_as_labels
from thickets.tasks.problems.worked import first_worked, read_worked
from thickets.tasks.types import Example, Label, LikelihoodPer
from thickets.tasks.verifiers import Verifier

logger = logging.getLogger(__name__)


class FileData:
    """The questions of a problem's files.

    Attributes:
        name: The problem's.
    """

    def __init__(self, config: ProblemConfig, verifier: Verifier) -> None:
        """Read nothing yet.

        Args:
            config: Names the files and their columns.
            verifier: Must accept every gold answer.
        """
        self.name = config.name
        self._config = config
        self._verifier = verifier

    def examples(self, count: int, seed: int) -> list[Example]:
        """Return the rows of ``problem.path`` in file order, repeated questions dropped; ignore ``count`` and ``seed``.

        Rows that ask one of the worked examples are dropped too.

        Raises:
            InputError: The data cannot be read, or a gold answer is not one the verifier could mark right.
        """
        return list(self._pool)

    def test_examples(self) -> list[Example] | None:
        """Return every row of ``problem.test_path``, or ``None`` if the config has none.

        Raises:
            InputError: As for :meth:`examples`, or a row asks one of the worked examples.
        """
        return None if self._official is None else list(self._official)

    def read(self, field: str, location: str) -> list[Example]:
        """Read another file with the checks of the problem's own data.

        Args:
            field: Option or config field that names the file, for errors.
            location: As ``problem.path``.

        Raises:
            InputError: As for :meth:`test_examples`.
        """
        return self._held_out(field, location)

    @property
    def likelihood_per(self) -> LikelihoodPer | None:
        """See `thickets.tasks.problems.base.HasLabels`."""
        config = self._config
        if config.scoring == "generate":
            return None
        return config.likelihood_per or ("byte" if config.likelihood_of == "text" else "label")

    def labels(self, example: Example) -> tuple[Label, ...]:
        """See `thickets.tasks.problems.base.HasLabels`; the options of a question, by their letters."""
        return options_as_labels(example, self._config.likelihood_of)

    @cached_property
    def _worked(self) -> tuple[WorkedExample, ...]:
        """The worked examples that are shown."""
        given, n_shown = self._config.examples, self._config.n_examples
        if not isinstance(given, str):
            return first_worked(given or (), n_shown, "the list")
        source = replace(self._source("problem.examples", given, "train"), id_column=None, aliases_column=None)
        return read_worked(source, n_shown)

    @cached_property
    def _pool(self) -> list[Example]:
        assert self._config.path is not None  # ProblemConfig requires it
        rows = self._read(self._source("problem.path", self._config.path, "train"))
        left = [row.example for row in rows if not self._is_worked(row.example)]
        if len(left) < len(rows):
            logger.warning(
                "problem.path %s: left out %d of %d rows, which ask one of the worked examples",
                self._config.path,
                len(rows) - len(left),
                len(rows),
            )
        return left

    @cached_property
    def _official(self) -> list[Example] | None:
        location = self._config.test_path
        return None if location is None else self._held_out("problem.test_path", location)

    def _held_out(self, field: str, location: str) -> list[Example]:
        source = self._source(field, location, "test")
        rows = self._read(source)
        for row in rows:
            if self._is_worked(row.example):
                raise source.error(
                    "it asks one of the worked examples, whose answer stands in the prompt; take it out of "
                    "problem.examples or out of this file",
                    row.place,
                )
        return [row.example for row in rows]

    def _is_worked(self, example: Example) -> bool:
        return _folded(example.question) in self._worked_questions

    @cached_property
    def _worked_questions(self) -> set[str]:
        return {_folded(each.question) for each in self._worked}

    def _source(self, field: str, location: str, default_split: str) -> Source:
        return Source(
            field=field,
            location=location,
            default_split=default_split,
            id_column=self._config.id_column,
            question_column=self._config.question_column,
            answer_column=self._config.answer_column,
            keep_columns=self._verifier.uses_columns,
            aliases_column=self._config.answer_aliases_column,
            choices_column=self._config.choices_column,
            image_column=self._config.image_column,
            prepare=self._prepare if self._own_columns else None,
        )

    def _prepare(self, place: str, row: Mapping[str, Any]) -> Mapping[str, Any] | str:
        """Return what is read of a row, or why it is left out; see `Source`."""
        return self._as_named(row)

    def _as_named(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let a column that is called as in other files stand for the problem's own, where that one is missing.

        A config that names the usual one cannot be told from a config that names none.
        """
        usual = {own: name for own, name in self._own_columns.items() if own not in row and name in row}
        return {**row, **{own: row[name] for own, name in usual.items()}} if usual else row

    @cached_property
    def _own_columns(self) -> dict[str, str]:
        """The columns in use that this problem calls otherwise than others do, with the others' names."""
        kind = find_kind(self.name)
        own = {} if kind is None or kind.one_column else kind.columns
        fields = ProblemConfig.model_fields
        return {name: fields[field].default for field, name in own.items() if getattr(self._config, field) == name}

    def _read(self, source: Source) -> list[Row]:
        rows = read_rows(source)
        for row in rows:
            self._check(source, row)
        return rows

    def _check(self, source: Source, row: Row) -> None:
        example = row.example
        alone = {name: value for name, value in example.metadata.items() if name != "aliases"}
        for answer in example.accepted:
            one = replace(example, answer=answer, metadata=alone)
            if not self._verifier.accepts(self._verifier.gold(one), one):
                is_gold = answer == example.answer
                columns = [
                    source.answer_column,
                    *([] if is_gold or not source.aliases_column else [source.aliases_column]),
                ]
                raise source.error(
                    f"the {'gold' if is_gold else 'accepted'} answer {answer[-60:]!r} cannot be judged by verifier "
                    f"{self._verifier.name}: {self._verifier.gold_rule}; it stands in column "
                    f"{' or '.join(map(repr, columns))}",
                    row.place,
                )
        if self.likelihood_per is not None:
            try:
                self.labels(example)
            except InputError as error:
                raise source.error(str(error), row.place) from None
        if self._config.system is not None and example.turns and example.turns[0]["role"] == "system":
            raise source.error(
                f"column {source.question_column!r} begins with a system turn, and problem.system is set as well; "
                "remove problem.system, or take the turn out",
                row.place,
            )


def _folded(question: str) -> str:
    return " ".join(question.casefold().split())
