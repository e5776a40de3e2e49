r"""GSM8K: grade-school arithmetic in words; 7,473 training and 1,319 test questions, English.

Sample:

    question: Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many
              clips did Natalia sell altogether in April and May?
    answer:   Natalia sold 48/2 = <<48/2=24>>24 clips in May.
              Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.
              #### 72

Source: Cobbe et al. 2021, arXiv 2110.14168; https://github.com/openai/grade-school-math (MIT), also
hf:openai/gsm8k:main. Both forms load as they are: ``path`` is the training data, ``test_path`` the official test data.

A reply is read as by ``verifier: numeric``: the number that it marks (a last \boxed{}, "####", <answer>, "the answer
is"), else its last number. Numbers compare by value ("$1,234.50" is 1234.5), with no tolerance and no credit for the
format.
"""

from __future__ import annotations

from dataclasses import replace

from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.types import Example
from thickets.tasks.verifiers import NUMERIC
from thickets.tasks.verifiers.numeric import gold_number

INSTRUCTION = "{question}\n\nThink step by step. Then give the final answer as a number after ####."


def _gold(text: str) -> str | None:
    _, marker, tail = text.rpartition("####")
    return gold_number(tail) if marker else None


VERIFIER = replace(
    NUMERIC,
    name="gsm8k",
    instruction=INSTRUCTION,
    max_tokens=320,
    gold=lambda example: _gold(example.answer),
    gold_rule="it must end in #### and a number (for other data take name: file and verifier: numeric)",
)


class Gsm8k(FileProblem):
    """GSM8K from a file in OpenAI's format or from Hugging Face."""

    summary = "Grade-school arithmetic in words (path: a file in OpenAI's format or hf:openai/gsm8k:main)."

    def __init__(self, config: ProblemConfig) -> None:
        super().__init__(config, VERIFIER)


SAMPLE = Example(
    id="sample",
    question="A baker fills 3 trays with 8 rolls each and sells 5 rolls. How many rolls are left?",
    answer="The baker makes 3*8 = <<3*8=24>>24 rolls.\nThere are 24-5 = <<24-5=19>>19 rolls left.\n#### 19",
)
"""A question in the data's form, for the catalogue."""
