r"""OlympiadBench: problems of olympiads and entrance examinations; the 674 open-ended ones in English without an image.

Sample (columns question, final_answer, context, image_1 to image_9, modality, question_type, is_multiple_answer, unit
and error are looked at, the others are not):

    question:           Find all real $x$ with $x^2 = 9$.
    final_answer:       ["$3, -3$"]
    is_multiple_answer: true

Source: He et al. 2024, arXiv 2402.14008; hf:Hothan/OlympiadBench:OE_TO_maths_en_COMP@train (Apache 2.0), or a file of
the same form. ``context`` stands before its question.

Rows that cannot be asked or judged are left out, and a line counts them: with an image, with a proof to be written,
without a final answer, with one that verifier math cannot read. A reply is read as by ``verifier: math``, whose one
form is its vote:

- ``is_multiple_answer``: all answers make one set; where it is false, a list holds other accepted forms of one answer.
- ``unit``: it belongs to the gold answer. A reply may leave it out; with another unit it is wrong.
- ``error``: a reply as near as this to a gold answer that is a number is right too. Its vote is its own number: replies
  that are right within the tolerance but differ do not vote together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from thickets.tasks.datafiles.columns import NoColumn, find, json_inside
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.kind import DATA_FIELDS, EXAMPLE_FIELDS, Kind
from thickets.tasks.problems.math500 import UNREADABLE, can_judge
from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers import MATH

_IMAGES = tuple(f"image_{number}" for number in range(1, 10))
_NUMBER = re.compile(r"-?\d{1,50}(?:\.\d{1,50})?(?:[eE]-?\d{1,2}|/\d{1,50})?")


def _judge(answer: str, example: Example) -> int:
    assert MATH.judge is not None
    return MATH.judge(answer, example) or FULL * _is_near(answer, example)


def _is_near(answer: str, example: Example) -> bool:
    """Return whether a number is within the tolerance of the data."""
    gold, error = (_number(text) for text in (MATH.gold(example), example.metadata.get("error")))
    mine = _number(answer)
    return mine is not None and gold is not None and error is not None and abs(mine - gold) <= abs(error)


def _number(text: object) -> Fraction | None:
    if not isinstance(text, str) or not _NUMBER.fullmatch(text.strip()):
        return None
    try:
        return Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        return None


VERIFIER = replace(
    MATH,
    name="olympiadbench",
    gold_rule="it must be one that verifier math reads",
    judge=_judge,
    uses_columns=True,
    details={**MATH.details, "olympiadbench": 1},
)


class OlympiadBench(FileProblem):
    """OlympiadBench from a file in its form or from Hugging Face."""

    summary = (
        "Olympiad mathematics and physics, judged by value "
        "(path: a file in its form or hf:Hothan/OlympiadBench:OE_TO_maths_en_COMP)."
    )

    def __init__(self, config: ProblemConfig) -> None:
        super().__init__(config.with_own_columns(), VERIFIER)

    def _prepare(self, place: str, row: Mapping[str, Any]) -> Mapping[str, Any] | str:
        """Make one gold answer of the columns about it, or say why the row is left out."""
        columns, row = self._config, self._as_named(row)
        try:
            question, given = find(row, columns.question_column), find(row, columns.answer_column)
            name = {} if columns.id_column is None else {columns.id_column: find(row, columns.id_column)}
        except NoColumn:
            return row  # an error that names the columns there are
        answers = [text for each in _listed(given) if (text := str(each).strip())]
        if any(row.get(name) for name in _IMAGES) or str(row.get("modality", "")).startswith("Multi"):
            return "with an image"
        if "proof" in str(row.get("question_type", "")).lower():
            return "with a proof to be written"
        if not answers:
            return "without a final answer"
        if _is_true(row.get("is_multiple_answer")):
            answers = [", ".join(answers)]
        answers = [_with_unit(answer, row.get("unit")) for answer in answers]
        if not all(map(can_judge, answers)):
            return UNREADABLE
        asked = question
        if isinstance(question, str) and isinstance(context := row.get("context"), str) and context.strip():
            asked = f"{context.strip()}\n\n{question}"
        error = {} if row.get("error") in (None, "") else {"error": str(row["error"])}
        return {**name, columns.question_column: asked, columns.answer_column: answers, **error}


def _with_unit(answer: str, unit: object) -> str:
    """Return an answer with its unit, if that is one that verifier math knows."""
    if not isinstance(unit, str) or not unit.strip():
        return answer
    named = f"{answer.strip('$')} \\text{{ {unit.strip('$ ')}}}"
    return named if MATH.gold(Example("", "", named)) == MATH.gold(Example("", "", answer)) else answer


def _listed(given: object) -> list[Any]:
    """Return the answers of a cell: a list, one that is written out as in a .csv file, or one answer."""
    listed = json_inside(given) if isinstance(given, str) else given
    if isinstance(listed, (list, tuple)):
        return [each for each in listed if each is not None]
    return [] if given is None else [given]


def _is_true(given: object) -> bool:
    return given is True or str(given).strip().lower() == "true"


KIND = Kind(
    name="olympiadbench",
    summary=OlympiadBench.summary,
    make=OlympiadBench,
    origin="He et al. 2024, arXiv 2402.14008; Apache 2.0",
    fields=(*DATA_FIELDS, "verifier", *EXAMPLE_FIELDS),
    columns={"answer_column": "final_answer"},
    verifiers=("math",),
    default_verifier="math",
    sample_config={"path": "olympiadbench.jsonl"},
    sample_example=Example("sample", "Find all real $x$ with $x^2 = 9$.", "$3, -3$"),
)
