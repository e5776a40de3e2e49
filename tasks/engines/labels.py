"""Chooses among labels by their likelihood after a prompt; nothing is generated.

The tokens of a label are those that the tokenizer makes of prompt and label *together*, less those that the prompt has
in common with all of its labels. So a tokenizer that joins the end of a prompt with the beginning of a label compares
the same text for every label.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from thickets.storage.errors import InputError
from thickets.tasks.engines.base import Engine
from thickets.tasks.engines.prompt_reader import PromptReader
from thickets.tasks.types import Completion, ImagePrompt, Label, Labels, Prompt, Sampling, text_of


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A prompt with its labels, as tokens.

    Attributes:
        context: Token ids that stand before every label; at least one.
        labels: Token ids of each label; at least one each.
    """

    context: list[int]
    labels: tuple[list[int], ...]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a label is.

    Attributes:
        log: Sum of the log-probabilities of its tokens, natural logarithm.
        n_tokens: Their number.
    """

    log: float
    n_tokens: int


@runtime_checkable
class LabelEngine(Engine, Protocol):
    """An engine that can tell how likely labels are."""

    def likelihoods(self, prompts: Sequence[Prompt], labels: Labels) -> list[tuple[Likelihood, ...]]:
        """Return the likelihood of every label of every prompt under the loaded candidate.

        Args:
            prompts: As in `generate`.
            labels: Of each of them.

        Returns:
            Per prompt, one per label. A pure function of the candidate and the whole lists; log-probabilities are made
            in float32 from the logits.
        """


def choose(engine: LabelEngine, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
    """Return the likeliest label of every prompt as its completion; of equals the first.

    Args:
        engine: Holds the candidate.
        prompts: The prompts.
        sampling: With their labels.

    Raises:
        InputError: The labels cannot be compared, one is longer than `Sampling.max_tokens`, or draws are asked for.
    """
    labels = sampling.labels
    assert labels is not None
    if sampling.temperature > 0:
        raise InputError(
            f"temperature: found {sampling.temperature:g}; answers are chosen by likelihood (problem.scoring: "
            "loglikelihood), which draws nothing, so only 0 is allowed"
        )
    found = []
    for each, likelihoods in zip(labels.of_prompts, engine.likelihoods(prompts, labels), strict=True):
        longest = max(likelihood.n_tokens for likelihood in likelihoods)
        if longest > sampling.max_tokens:
            raise InputError(
                f"decoding.max_tokens: found {sampling.max_tokens}; the label {_longest(each).text[:60]!r} or another "
                f"has {longest} tokens; allow as many"
            )
        best = likeliest(each, likelihoods, labels)
        found.append(Completion(each[best].answer, likelihoods[best].n_tokens, "stop"))
    return found


def likeliest(labels: Sequence[Label], likelihoods: Sequence[Likelihood], how: Labels) -> int:
    """Return the place of the likeliest label; of equals the first.

    Args:
        labels: Of one prompt.
        likelihoods: One each.
        how: Says what a log-likelihood is divided by.
    """
    values = _values(labels, likelihoods, how)
    return max(range(len(values)), key=values.__getitem__)


def shares(labels: Sequence[Label], likelihoods: Sequence[Likelihood], how: Labels) -> list[float]:
    """Return how probable each label of a prompt is among all of them, by what they are compared by; they add up to 1.

    Args:
        labels: Of one prompt.
        likelihoods: One each.
        how: Says what a log-likelihood is divided by.
    """
    values = _values(labels, likelihoods, how)
    most = max(values)
    powers = [math.exp(value - most) for value in values]
    return [power / sum(powers) for power in powers]


def label_rows(reader: PromptReader, prompts: Sequence[Prompt], labels: Labels) -> list[LabelRow]:
    """Tokenize prompts with their labels.

    Args:
        reader: Of the model's tokenizer.
        prompts: The prompts.
        labels: Of each of them.

    Raises:
        InputError: A label can never be the likeliest, because another one is its beginning; two have the same tokens;
            there is no token before a label; or a prompt has an image.
    """
    if not prompts:
        return []
    if any(isinstance(prompt, ImagePrompt) for prompt in prompts):
        raise InputError("problem.scoring: found loglikelihood, but a question is about an image; write generate")
    wholes = [
        text_of(prompt) + labels.gap + label.text
        for prompt, each in zip(prompts, labels.of_prompts, strict=True)
        for label in each
    ]
    ids = reader.ids([*prompts, *wholes])
    alone, rest = ids[: len(prompts)], iter(ids[len(prompts) :])
    rows = []
    for prompt, each in zip(alone, labels.of_prompts, strict=True):
        whole = [next(rest) for _ in each]
        start = min(_n_common(prompt, row) for row in whole)
        row = LabelRow(prompt[:start], tuple(tokens[start:] for tokens in whole))
        _check(row, each, labels)
        rows.append(row)
    return rows


def _check(row: LabelRow, labels: Sequence[Label], how: Labels) -> None:
    if not row.context:
        raise InputError("problem: a prompt has no tokens before its labels; every question must have text")
    places = {tuple(tokens): place for place, tokens in enumerate(row.labels)}
    if () in places:
        raise InputError(f"problem.labels: {labels[places[()]].text!r} has no tokens; every label must have text")
    if len(places) < len(labels):
        raise InputError(
            f"problem.labels: two of {', '.join(repr(label.text[:40]) for label in labels)} have the same tokens; "
            "labels must differ"
        )
    if how.per != "label":
        return
    for tokens, place in places.items():
        for end in range(1, len(tokens)):
            if (shorter := places.get(tokens[:end])) is not None:
                raise InputError(
                    f"problem.labels: the tokens of {labels[shorter].text!r} are the beginning of those of "
                    f"{labels[place].text!r}, which can then never be the likelier one; rename one of the two, or set "
                    "problem.likelihood_per to token"
                )


def _values(labels: Sequence[Label], likelihoods: Sequence[Likelihood], how: Labels) -> list[float]:
    by = {
        "label": lambda label, likelihood: 1,
        "token": lambda label, likelihood: likelihood.n_tokens,
        "byte": lambda label, likelihood: len(label.text.encode()),
    }[how.per]
    return [likelihood.log / by(label, likelihood) for label, likelihood in zip(labels, likelihoods, strict=True)]


def _longest(labels: Sequence[Label]) -> Label:
    return max(labels, key=lambda label: len(label.text))


def _n_common(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the leading tokens that two rows share."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
