"""The verdict on one reply with its reason, in a line."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from thickets.flows.check.prompt import Gold, read_gold
from thickets.tasks.problems.judging import Judge, Verdict
from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers.programs import share_in_words
from thickets.tasks.verifiers.thought import after_thought

VerdictName = Literal["right", "wrong", "abstains"]
AnyVerdict = Literal["right", "wrong", "abstains", "gold refused"]
UNFINISHED_THOUGHT = "unfinished thought"
EMPTY = "empty reply"

_MOST_CHARACTERS = 60
_NUMERIC = ("numeric", "gsm8k", "largest_number")
_PROGRAMS = ("tests", "mbpp")
_LACKING = {
    "choice": "no letter that is surely the answer",
    "classification": "no label that is surely the answer",
    "regex": "no match of problem.pattern",
    **dict.fromkeys(("similarity", "rocstories"), "no word"),
    **dict.fromkeys(_PROGRAMS, "no Python function that gives a value"),
}


class CheckedReply(BaseModel):
    """A reply, and what its verifier makes of it."""

    model_config = ConfigDict(frozen=True)

    example_id: str
    question: str
    gold: Gold
    reply: str
    extracted: str | None = Field(description="The canonical answer, which is the vote; null is an abstention.")
    span: tuple[int, int] | None = Field(description="Where in the reply it stands, as far as that can be told.")
    score: float = Field(description="From 0 to 1, in thousandths.")
    verdict: VerdictName
    cut_off: bool = Field(False, description="It was not at its end when decoding.max_tokens was reached.")
    why: str = Field(description="The verdict and its reason, in a line.")


def check_reply(
    judge: Judge, name: str, example: Example, reply: str, cut_off_at: int | None = None, among: str = ""
) -> CheckedReply:
    """Judge a reply as a run does.

    Args:
        judge: The run's.
        name: Of the verifier, or of a problem with one of its own.
        example: The question.
        reply: The whole completion.
        cut_off_at: The limit of tokens if the reply ran into it.
        among: Of a label that was chosen, how probable it and others are; empty for other replies.
    """
    found = judge.of_answer(judge.extract(reply, example), example)
    gold = read_gold(judge.problem, example)
    verdict: VerdictName = "abstains" if found.answer is None else "right" if found.correct else "wrong"
    why = reason(judge, name, gold, reply, found)
    return CheckedReply(
        example_id=example.id,
        question=example.shown,
        gold=gold,
        reply=reply,
        extracted=found.answer,
        span=place_of(judge, example, reply, found.answer),
        score=found.score / FULL,
        verdict=verdict,
        cut_off=cut_off_at is not None,
        why=why + (among and f"; {among}") + ("" if cut_off_at is None else f"; cut off at {cut_off_at} tokens"),
    )


def reason(judge: Judge, name: str, gold: Gold, reply: str, found: Verdict) -> str:
    """Return a verdict with its reason in a line: ``wrong: read 391, gold is 392``."""
    if found.answer is None:
        return f"abstains: {_abstains_for(judge, name, reply)}"
    verdict: VerdictName = "right" if found.correct else "wrong"
    said = share_in_words(found.answer) if name in _PROGRAMS else _compared(verdict, found.answer, gold)
    return f"{verdict}: {said}" + (f", score {found.score / FULL:g}" if 0 < found.score < FULL else "")


def place_of(judge: Judge, example: Example, reply: str, answer: str | None) -> tuple[int, int] | None:
    """Return where the answer stands: as the verifier says, else where the reply last has it in its canonical form."""
    if answer is None or (known := judge.span(reply, example)) is not None:
        return None if answer is None else known
    said = reply if judge.reasoning is None else after_thought(reply, judge.reasoning) or ""
    places = [found.span() for found in re.finditer(rf"(?<!\w){re.escape(answer)}(?!\w)", said)]
    before = len(reply) - len(said)
    return (before + places[-1][0], before + places[-1][1]) if places else None


def _compared(verdict: VerdictName, answer: str, gold: Gold) -> str:
    mine, wanted = _shown(answer), _shown(gold.written if gold.read is None else gold.read)
    if verdict == "right":
        return f"{mine} = gold {wanted}" if answer == gold.read else f"{mine}, gold is {wanted}"
    return f"read {mine}, gold is {wanted}"


def _shown(answer: str) -> str:
    """Return an answer in one line, its middle left out if it is long, in quotes if it has several words."""
    line, half = " ".join(answer.split()), _MOST_CHARACTERS // 2
    short = line if len(line) <= _MOST_CHARACTERS else f"{line[:half].rstrip()} ... {line[-half:].lstrip()}"
    return f'"{short}"' if " " in short else short


def _abstains_for(judge: Judge, name: str, reply: str) -> str:
    said = reply if judge.reasoning is None else after_thought(reply, judge.reasoning)
    if said is None:
        return UNFINISHED_THOUGHT
    if not said.strip():
        return EMPTY
    if name in _NUMERIC:
        return "no number that is surely the answer" if any(map(str.isnumeric, said)) else "no number"
    return _LACKING.get(name, "no answer that can be read")
