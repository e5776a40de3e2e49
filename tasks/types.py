"""The values that travel between the stages of the method."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from thickets.storage.errors import InputError

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"
Scalar: TypeAlias = "str | int | float | bool | None"
FULL = 1000
"""The score of an answer with full marks: scores are whole thousandths, so that a sum does not depend on its order."""

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Image:
    """An image that a question is about: what it is, and where its bytes lie on this machine.

    Small, so that prompts, shards and what is sent to other processes stay small; an engine reads the bytes when it
    needs them (`thickets.tasks.images`).

    Attributes:
        sha256: Of the file's bytes; the one thing by which runs tell images apart.
        path: The file; no identity depends on it.
        name: What the data calls it, for people.
        width: Pixels, turned as it is shown.
        height: Pixels, turned as it is shown.
    """

    sha256: str
    path: str
    name: str
    width: int
    height: int


class Message(TypedDict):
    """One chat turn, in the form every chat template takes; `image` stands before its text."""

    role: Literal["system", "user", "assistant"]
    content: str
    image: NotRequired[Image]


@dataclass(frozen=True, slots=True)
class ImagePrompt:
    """A rendered prompt with an image.

    Attributes:
        text: As the chat template writes it, with the model's placeholder once, where the image goes.
        image: The image.
    """

    text: str
    image: Image


# A rendered prompt, as engines take it.
Prompt: TypeAlias = str | ImagePrompt


def text_of(prompt: Prompt) -> str:
    """Return a prompt's text; of one with an image, with the placeholder."""
    return prompt.text if isinstance(prompt, ImagePrompt) else prompt


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point of the neighbourhood of the base model: ``theta + sigma * eps(seed)``.

    Attributes:
        seed: Unsigned 64-bit key of the noise.
        sigma: Standard deviation of the perturbation, in units of the weights.

    Example:
        >>> from thickets import Candidate
        >>> Candidate(seed=7, sigma=0.002).id
        '0000000000000007@0.002'
    """

    seed: int
    sigma: float

    @property
    def id(self) -> str:
        """Name of the candidate wherever it is stored; a function of its content alone."""
        return f"{self.seed:016x}@{self.sigma!r}"


@dataclass(frozen=True, slots=True)
class Average:
    """The weight average of some candidates: one model that costs what the base costs.

    With ``d_i = fl32(sigma_i * z_i)`` of member i, every weight of it is
    ``cast(fl32( fl32(w) + fl32( fl32(d_1 + d_2 + ... ) / K ) ))``: the members' noise is added up in float32 in their
    order, divided by their number once, added to the base's weight and cast to the model's type once. So it is a
    function of the base and the members alone, and the average of one candidate is that candidate, bit for bit.

    Attributes:
        members: At least one; their order matters for the last bit.
    """

    members: tuple[Candidate, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError("members: found none; an average needs at least one candidate")

    @property
    def id(self) -> str:
        """Name of the average wherever it is stored; whoever changes its definition must change the 1."""
        return f"base~average1x{len(self.members)}#{_digest(','.join(member.id for member in self.members))}"


# Weights that an engine can hold besides the base's.
Weights: TypeAlias = Candidate | Average


@dataclass(frozen=True, slots=True)
class Attempt:
    """The base, sampled once per question: one of several respondents of self-consistency.

    Attributes:
        index: Number of the attempt, from 0.
        temperature: The logits are divided by it; > 0.
        seed: Seed of the draws, shared by all attempts of a control.
        instruction: The prompt template; None: the run's own.
    """

    index: int
    temperature: float
    seed: int = 0
    instruction: str | None = None

    @property
    def id(self) -> str:
        """Name of the attempt wherever it is stored; whoever changes how tokens are drawn must change it."""
        wording = "" if self.instruction is None else f"w{_digest(self.instruction)}"
        return f"base~{wording}t{self.temperature!r}s{self.seed}#{self.index}"


@dataclass(frozen=True, slots=True)
class Reworded:
    """The base, decoded greedily, with another prompt template than the run's own.

    Attributes:
        instruction: The template, with ``{question}`` where the question goes.
    """

    instruction: str

    @property
    def id(self) -> str:
        """Name of the respondent wherever it is stored; a function of the template alone."""
        return f"base~w{_digest(self.instruction)}"


# A model and its way of decoding, as scored in a unit; None is the base, decoded greedily.
Respondent: TypeAlias = Candidate | Average | Attempt | Reworded | None


@dataclass(frozen=True, slots=True)
class Example:
    """One question of a problem.

    Attributes:
        id: Stable and unique within the problem; the same question has the same id in every run.
        question: Text of the question, before any prompt template.
        answer: The gold answer as the data gives it.
        metadata: Further values that the verifier needs (JSON values only). ``aliases``: other accepted answers;
            ``options``: texts of the answers to choose from, A first. One that only prompts need is ``turns``: the chat
            turns that the data has before the question, which is the last user turn; absent where the data holds text.
        image: The image that the question is about; None: there is none.
    """

    id: str
    question: str
    answer: str
    metadata: dict[str, Any] = field(default_factory=dict)
    image: Image | None = None

    @property
    def shown(self) -> str:
        """The question as it is shown to a person, who must know which image it is about."""
        return self.question if self.image is None else f"{self.question} [image: {self.image.name}]"

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every accepted answer as the data gives it, the gold answer first."""
        return (self.answer, *self.metadata.get("aliases", ()))

    @property
    def turns(self) -> tuple[Message, ...]:
        """The chat turns that the data has before the question."""
        return tuple(self.metadata.get("turns", ()))


# What a label's likelihood is divided by: nothing, its number of tokens, or that of its bytes in UTF-8.
LikelihoodPer = Literal["label", "token", "byte"]


@dataclass(frozen=True, slots=True)
class Label:
    """One of the answers to choose from.

    Attributes:
        answer: The completion where it is chosen.
        text: What its likelihood is that of: the label as it would follow the prompt, without white space before it.
    """

    answer: str
    text: str


@dataclass(frozen=True, slots=True)
class Labels:
    """The answers to choose from by their likelihood, so that nothing is generated.

    Attributes:
        of_prompts: Of every prompt, in the order of the prompts; of equally likely ones the first is chosen.
        gap: White space between a prompt and a label.
        per: What the log-likelihood of a label is divided by.
    """

    of_prompts: tuple[tuple[Label, ...], ...]
    gap: str = ""
    per: LikelihoodPer = "label"

    def of(self, places: Iterable[int]) -> Labels:
        """Return the labels of some of the prompts."""
        return replace(self, of_prompts=tuple(self.of_prompts[place] for place in places))


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings for decoding completions.

    Attributes:
        max_tokens: Most new tokens per completion.
        stop: Decoding of a row ends when one of these strings appears; the string is cut off.
        temperature: 0 takes the likeliest token (greedy); else tokens are drawn from softmax(logits / temperature).
        seed: Of the draws, unsigned 64 bits. Equal seeds give equal completions, whatever was generated before.
        labels: The answers to choose from by likelihood, for exactly the prompts at hand; None: answers are generated.
    """

    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0
    labels: Labels | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer to one prompt.

    Attributes:
        text: Decoded completion without special tokens and without the stop string.
        n_tokens: New tokens generated, the end-of-sequence token included; of a chosen label, its own tokens.
        finish_reason: ``"stop"`` (end of sequence or stop string) or ``"length"``.
    """

    text: str
    n_tokens: int
    finish_reason: FinishReason


def question_id(question: str) -> str:
    """Return an id that does not depend on a question's place: the first 16 hex digits of its SHA-256."""
    return _digest(question)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
