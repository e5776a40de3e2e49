"""The values that travel between the stages of the method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypedDict

FinishReason = Literal["stop", "length"]


class Message(TypedDict):
    """One chat turn, in the form every chat template takes."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point of the neighbourhood of the base model: ``theta + sigma * eps(seed)``.

    Attributes:
        seed: Unsigned 64-bit key of the noise.
        sigma: Standard deviation of the perturbation, in units of the weights.
    """

    seed: int
    sigma: float

    @property
    def id(self) -> str:
        """Name of the candidate wherever it is stored; a function of its content alone."""
        return f"{self.seed:016x}@{self.sigma!r}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of several sampled answers of the base to every question: a respondent of self-consistency.

    Attributes:
        index: Which one, from 0.
        temperature: The logits are divided by it; > 0.
        seed: Of all attempts that belong together.
    """

    index: int
    temperature: float
    seed: int = 0

    @property
    def id(self) -> str:
        """Name of the attempt wherever it is stored; whoever changes how tokens are drawn must change it."""
        return f"base~t{self.temperature!r}s{self.seed}#{self.index}"


# Who answers a unit; None is the base, decoded greedily.
Respondent: TypeAlias = Candidate | Attempt | None


@dataclass(frozen=True, slots=True)
class Example:
    """One question of a problem.

    Attributes:
        id: Stable and unique within the problem; the same question has the same id in every run.
        question: What the model is asked, before any prompt template.
        answer: The gold answer as the data gives it.
        metadata: Whatever else the verifier needs (JSON values only).
    """

    id: str
    question: str
    answer: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are decoded.

    Attributes:
        max_tokens: Most new tokens per completion.
        stop: Decoding of a row ends when one of these strings appears; the string is cut off.
        temperature: 0 takes the likeliest token (greedy); else tokens are drawn from softmax(logits / temperature).
        seed: Of the draws, unsigned 64 bits. Equal seeds give equal completions, whatever was generated before.
    """

    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model answered to one prompt.

    Attributes:
        text: Decoded completion without special tokens and without the stop string.
        n_tokens: New tokens generated, the end-of-sequence token included.
        finish_reason: ``"stop"`` (end of sequence or stop string) or ``"length"``.
    """

    text: str
    n_tokens: int
    finish_reason: FinishReason
