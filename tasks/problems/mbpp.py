"""MBPP: short Python functions from a description in a sentence and three tests; 974 tasks, English.

Sample (columns text, code, test_list and test_setup_code; the "sanitized" form has prompt and test_imports instead):

    text:      Write a function to find the sum of the squares of a list of numbers.
    code:      def sum_squares(numbers):
                   return sum(number * number for number in numbers)
    test_list: ["assert sum_squares([1, 2]) == 5", "assert sum_squares([]) == 0", "assert sum_squares([-3]) == 9"]

Source: Austin et al. 2021, arXiv 2108.07732; https://github.com/google-research/google-research/tree/master/mbpp
(CC BY 4.0), also hf:google-research-datasets/mbpp:full. Set ``question_column: prompt`` for the sanitized form.

A reply is a program, run on the tests in a sandbox (`thickets.tasks.sandbox`); programs that the tests cannot tell
apart vote together. An answer is right where every test passes, or the share that ``right_at`` says.
"""

from __future__ import annotations

from dataclasses import replace

from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.configured import make_verifier
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.kind import DATA_FIELDS, EXAMPLE_FIELDS, TEST_FIELDS, Kind
from thickets.tasks.types import Example, Message
from thickets.tasks.verifiers.programs import tests_of

_TESTS = "It must pass these tests:"


class Mbpp(FileProblem):
    """MBPP from a file in its authors' format or from Hugging Face."""

    summary = "Python functions from a sentence and tests (path: MBPP's file or hf:google-research-datasets/mbpp:full)."

    def __init__(self, config: ProblemConfig) -> None:
        config = config.with_own_columns().model_copy(update={"verifier": "tests"})
        super().__init__(config, make_verifier(config))

    def messages(self, example: Example) -> list[Message]:
        """Return the task with its tests, which name the function."""
        tests = "\n".join(tests_of(example, self._config.tests_column))
        return super().messages(replace(example, question=f"{example.question}\n\n{_TESTS}\n\n{tests}"))


SAMPLE = Example(
    id="sample",
    question="Write a function to count the words of a text that are longer than a given number of letters.",
    answer="def count_long(text, n):\n    return sum(len(word) > n for word in text.split())",
    metadata={
        "test_list": [
            "assert count_long('a short text', 1) == 2",
            "assert count_long('', 3) == 0",
            "assert count_long('one two', 3) == 0",
        ]
    },
)
"""A task in the data's form, for the catalogue."""


KIND = Kind(
    name="mbpp",
    summary=Mbpp.summary,
    make=Mbpp,
    origin="Austin et al. 2021, arXiv 2108.07732; CC BY 4.0",
    fields=(*DATA_FIELDS, *TEST_FIELDS, "verifier", "right_at", *EXAMPLE_FIELDS),
    columns={"question_column": "text", "answer_column": "code"},
    verifiers=("tests",),
    default_verifier="tests",
    sample_config={"path": "mbpp.jsonl", "sandbox": "weak"},  # the sample is ours
    sample_example=SAMPLE,
)
