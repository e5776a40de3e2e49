"""One reply judged against one gold answer by a verifier, without a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thickets.flows.check.verdict import AnyVerdict, check_reply
from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig
from thickets.tasks.problems.configured import make_verifier
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.gsm8k import VERIFIER as GSM8K
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import Example


class SingleVerdict(BaseModel):
    """What a verifier makes of a reply."""

    model_config = ConfigDict(frozen=True)

    extracted: str | None = Field(
        description="The canonical answer; null: an abstention, or the gold answer is refused."
    )
    score: float = Field(description="From 0 to 1, in thousandths.")
    verdict: AnyVerdict
    why: str = Field(exclude=True, description="The verdict and its reason, in a line.")


def judge_reply(
    name: str,
    gold: Sequence[str],
    reply: str,
    *,
    pattern: str | None = None,
    question: str = "",
    options: Sequence[str] = (),
) -> SingleVerdict:
    """Judge a reply as a run on a file with this row would.

    Args:
        name: Of the verifier, as `problem.verifier`; also ``gsm8k``.
        gold: The gold answer as the data gives it, then other accepted answers.
        reply: The whole completion.
        pattern: `problem.pattern` of the regex verifier.
        question: The row's question.
        options: The answers to choose from, A first, where the row has them in a column.

    Raises:
        InputError: There is no such verifier, or it cannot be used.
    """
    verifier = GSM8K if name == GSM8K.name else make_verifier(_config(name, pattern))
    columns = {"aliases": list(gold[1:]), "options": list(options)}
    example = Example("row", question, gold[0], {name: values for name, values in columns.items() if values})
    each = [replace(example, answer=answer) for answer in example.accepted]
    if not all(verifier.accepts(verifier.gold(one), one) for one in each):  # as for every row of a file
        why = f"gold refused: {verifier.gold_rule}"
        return SingleVerdict(extracted=None, score=0.0, verdict="gold refused", why=why)
    found = check_reply(Judge(FileProblem(_ANY, verifier)), name, example, reply)
    return SingleVerdict(extracted=found.extracted, score=found.score, verdict=found.verdict, why=found.why)


def _config(verifier: str, pattern: str | None) -> ProblemConfig:
    try:
        return ProblemConfig(name="file", path="row.jsonl", verifier=verifier, pattern=pattern)
    except ValidationError as error:
        raise InputError("; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())) from None


# Its prompt and data are never asked for.
_ANY = ProblemConfig(name="file", path="row.jsonl")
