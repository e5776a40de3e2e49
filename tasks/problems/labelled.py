"""The answers to choose from by likelihood: of questions, and of multiple-choice questions by their options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Literal, Protocol

from thickets.storage.errors import InputError
from thickets.tasks.problems.base import HasLabels, Problem
from thickets.tasks.types import Example, Label, Labels, Message
from thickets.tasks.verifiers.choice import listed_options

_LINE = re.compile(r"(?P<letter>[A-Z])\. (?P<text>.*\S)")


class HasGap(Protocol):
    """What renders prompts, as far as labels are concerned."""

    def gap(self, messages: Sequence[Message]) -> str:
        """Return the white space between a rendered prompt and a reply to it."""


def labels_of(problem: Problem, template: HasGap, examples: Sequence[Example]) -> Labels | None:
    """Return the answers to choose from by likelihood; None where answers are generated.

    Args:
        problem: Gives the labels.
        template: Says what stands between a prompt and a reply.
        examples: The questions.

    Raises:
        InputError: A question lists no answers.
    """
    if not isinstance(problem, HasLabels) or (per := problem.likelihood_per) is None:
        return None
    gap = template.gap(problem.messages(examples[0])) if examples else ""
    return Labels(tuple(map(problem.labels, examples)), gap, per)


def options_as_labels(example: Example, of: Literal["letter", "text"]) -> tuple[Label, ...]:
    """Return a label per option, whose answer is its letter.

    Args:
        example: The question. Its options are those of the data, or else those that its text lists.
        of: What is compared: letters or texts.

    Raises:
        InputError: The question lists no options, or two of the same text where texts are compared.
    """
    if of == "text":
        texts = tuple(example.metadata.get("options", ())) or _listed_texts(example.question)
        if len(set(texts)) < len(texts):
            raise InputError(
                f"the question {example.question[:60]!r} lists one option twice; texts that are compared by their "
                "likelihood must differ (problem.likelihood_of: letter)"
            )
    else:
        texts = tuple(ascii_uppercase[: listed_options(example) or 0])
    if len(texts) < 2:
        raise InputError(
            f"the question {example.question[:60]!r} lists no options; scoring: loglikelihood chooses one of them: put "
            "each on a line of its own below the question, as in A. Paris"
        )
    return tuple(Label(letter, text) for letter, text in zip(ascii_uppercase, texts, strict=False))


def _listed_texts(question: str) -> tuple[str, ...]:
    """Return the options that a question ends in, a line each, A first; of none that are not in order."""
    found: list[str] = []
    for line in question.strip().splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            found = []
        elif match["letter"] == ascii_uppercase[len(found) : len(found) + 1]:
            found.append(match["text"])
        else:
            found = [match["text"]] if match["letter"] == "A" else []
    return tuple(found)
