r"""MATH-500: 500 competition problems of seven subjects, whose answers are expressions; English.

Sample (columns problem, solution, answer, subject, level and unique_id; problem and answer are read):

    problem: What is the sum of all positive divisors of $28$ that are less than $28$?
    answer:  28

Source: the test questions of Hendrycks et al. 2021 (MATH, arXiv 2103.03874, MIT) that Lightman et al. 2023 (arXiv
2305.20050) held out; hf:HuggingFaceH4/MATH-500@test. The rest of MATH has no column ``answer``: take name: file with
``answer_column: solution``, whose last \boxed{} is then the gold answer.

A reply is read as by ``verifier: math``, whose one form is its vote. Rows whose gold answer that verifier cannot read
(a date is one) are left out, and a line counts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thickets.tasks.datafiles.columns import NoColumn, find
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.kind import DATA_FIELDS, EXAMPLE_FIELDS, Kind
from thickets.tasks.types import Example
from thickets.tasks.verifiers import MATH

UNREADABLE = "whose answer verifier math cannot read"


class Math500(FileProblem):
    """MATH-500 from a file in its form or from Hugging Face."""

    summary = "Competition mathematics, judged by value (path: MATH-500's file or hf:HuggingFaceH4/MATH-500@test)."

    def __init__(self, config: ProblemConfig) -> None:
        super().__init__(config.with_own_columns(), MATH)

    def _prepare(self, place: str, row: Mapping[str, Any]) -> Mapping[str, Any] | str:
        row = self._as_named(row)
        try:
            answer = find(row, self._config.answer_column)
        except NoColumn:
            return row  # an error that names the columns there are
        return row if not isinstance(answer, str) or can_judge(answer) else UNREADABLE


def can_judge(answer: str) -> bool:
    """Return whether verifier math reads a gold answer, and finds it right."""
    example = Example("", "", answer)
    return MATH.accepts(MATH.gold(example), example)


KIND = Kind(
    name="math500",
    summary=Math500.summary,
    make=Math500,
    origin="Hendrycks et al. 2021, arXiv 2103.03874; MIT",
    fields=(*DATA_FIELDS, "verifier", *EXAMPLE_FIELDS),
    columns={"question_column": "problem"},
    verifiers=("math",),
    default_verifier="math",
    sample_config={"path": "math500.jsonl"},
    sample_example=Example("sample", "What is $\\frac{3}{4}$ of the first five odd numbers' sum?", "\\frac{75}{4}"),
)
