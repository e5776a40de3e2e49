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
format. Another ``verifier`` judges by what stands behind the "####" of the gold answer.
"""

from __future__ import annotations

from dataclasses import replace

from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.configured import make_verifier
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.kind import DATA_FIELDS, EXAMPLE_FIELDS, VERIFIER_FIELDS, Kind
from thickets.tasks.types import Example
from thickets.tasks.verifiers import NUMERIC, Verifier

INSTRUCTION = "{question}\n\nThink step by step. Then give the final answer as a number after ####."


def _on_final_answers(verifier: Verifier) -> Verifier:
    """Let a verifier see what stands behind the "####" of a gold answer, and keep prompt and length of this problem."""

    def final(example: Example) -> Example:
        return replace(example, answer=example.answer.rpartition("####")[2].strip())

    judge, span, extract_all = verifier.judge, verifier.span, verifier.extract_all
    return replace(
        verifier,
        instruction=INSTRUCTION,
        max_tokens=320,
        extract=lambda text, example: verifier.extract(text, final(example)),
        extract_all=extract_all and (lambda texts, examples: extract_all(texts, [final(each) for each in examples])),
        gold=lambda example: verifier.gold(final(example)) if "####" in example.answer else None,
        gold_rule="it must end in #### and an answer that this verifier reads (for other data take name: file)",
        judge=judge and (lambda answer, example: judge(answer, final(example))),
        span=span and (lambda text, example: span(text, final(example))),
    )


VERIFIER = _on_final_answers(replace(NUMERIC, name="gsm8k"))


class Gsm8k(FileProblem):
    """GSM8K from a file in OpenAI's format or from Hugging Face."""

    summary = "Grade-school arithmetic in words (path: a file in OpenAI's format or hf:openai/gsm8k:main)."

    def __init__(self, config: ProblemConfig) -> None:
        super().__init__(config, VERIFIER if config.verifier is None else _on_final_answers(make_verifier(config)))


SAMPLE = Example(
    id="sample",
    question="A baker fills 3 trays with 8 rolls each and sells 5 rolls. How many rolls are left?",
    answer="The baker makes 3*8 = <<3*8=24>>24 rolls.\nThere are 24-5 = <<24-5=19>>19 rolls left.\n#### 19",
)
"""A question in the data's form, for the catalogue."""


KIND = Kind(
    name="gsm8k",
    summary=Gsm8k.summary,
    make=Gsm8k,
    origin="Cobbe et al. 2021, arXiv 2110.14168; MIT",
    fields=(*DATA_FIELDS, *VERIFIER_FIELDS, *EXAMPLE_FIELDS),
    default_verifier="numeric",
    sample_config={"path": "train.jsonl", "test_path": "test.jsonl"},
    sample_example=SAMPLE,
)
