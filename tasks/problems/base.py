"""The interface of a problem: make a prompt, extract an answer, verify it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from thickets.tasks.types import JSON, Example, Label, LikelihoodPer, Message, Sampling

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Problem(Protocol):
    """A set of questions, with the prompts for a model and the rules that judge its answers.

    A problem holds no model and does no decoding, so it can be used from a notebook.
    Its gold answers score 1.0; every problem's tests prove that.

    Attributes:
        name: As written in the config, e.g. ``"gsm8k"`` or ``"reasoning_gym:chain_sum"``.
        summary: One line for ``thickets problems``.
        sampling: Default decoding.
        right_at: The score from which on an answer is right; ``FULL`` where answers are right or wrong and no more.

    Example:
        >>> from thickets import Problem
        >>> from thickets.tasks.problems import ProblemConfig, load_problem
        >>> problem: Problem = load_problem(ProblemConfig(name="largest_number"))
        >>> [example] = problem.examples(1, seed=0)
        >>> answer = problem.extract(f"It is {example.answer}.", example)
        >>> problem.score(answer, example)
        1000
    """

    name: str
    summary: str
    sampling: Sampling
    right_at: int

    def identity(self) -> dict[str, JSON]:
        """Return everything that changes a prompt, an extraction or a verdict.

        No file paths: the same data read from another folder is the same problem, and the data is hashed by its splits.
        """
        ...

    def judgement(self) -> dict[str, JSON]:
        """Return what changes an extraction or a verdict, and nothing that changes only a prompt.

        Completions are judged again where it changes, and not generated again.
        """
        ...

    def examples(self, count: int, seed: int) -> list[Example]:
        """Return the pool that splits are drawn from.

        Args:
            count: Number of distinct questions that a generated problem makes; a problem read from a file ignores this.
            seed: Which questions a generated problem makes; a problem read from a file ignores this.

        Returns:
            ``count`` examples of a generated problem, or every row of a file in file order.

        Raises:
            InputError: The data cannot be read, or so many distinct questions do not exist.
        """
        ...

    def test_examples(self) -> list[Example] | None:
        """Return the official, separate test set, or ``None`` if the problem has none."""
        ...

    def messages(self, example: Example) -> list[Message]:
        """Return the question as chat turns for a model."""
        ...

    def extract(self, text: str, example: Example) -> str | None:
        """Return the canonical answer in a completion, which is also its vote; ``None`` is an abstention.

        Two completions that mean the same give the same string: ``"1,234.50"`` and ``"1234.5"`` both vote ``"1234.5"``.
        """
        ...

    def score(self, answer: str, example: Example) -> int:
        """Return the score of a canonical answer, as ``extract`` returned it: 0 to ``FULL``."""
        ...

    def lenient(self, text: str, example: Example) -> bool | None:
        """Return whether a completion names the right answer at all, in any place and form.

        Called for completions that ``extract`` and ``score`` found wrong, to tell an answer in the wrong form from a
        wrong answer; see ``thickets.tasks.verifiers.lenient``. No score depends on it, so it is not part of
        ``identity``.

        Returns:
            ``None`` if it cannot be told, as for a problem that is not judged by comparing answers.
        """
        return None


@dataclass(frozen=True, slots=True)
class Option:
    """A setting of a problem, as ``thickets problems NAME`` shows it.

    Attributes:
        name: Of the option, e.g. ``count``; in the catalogue as in a config, ``problem.options.count``.
        default: What holds if nothing is said.
        about: One line; empty where the name has to do.
        required: Whether there is no default.
    """

    name: str
    default: Any
    about: str = ""
    required: bool = False


@runtime_checkable
class HasOptions(Protocol):
    """A problem whose questions may list the answers to choose from, so that guessing has a known accuracy."""

    def n_options(self, example: Example) -> int | None:
        """Return how many answers the question lists, of which exactly one is right; None: it lists none."""
        ...


@runtime_checkable
class HasLabels(Protocol):
    """A problem whose answers may be chosen by their likelihood, so that none is generated."""

    @property
    def likelihood_per(self) -> LikelihoodPer | None:
        """Return what the log-likelihood of a label is divided by; None: answers are generated."""
        ...

    def labels(self, example: Example) -> tuple[Label, ...]:
        """Return the answers to choose from.

        Raises:
            InputError: The question lists none.
        """
        ...


def chooses(problem: Problem) -> bool:
    """Return whether a problem's answers are chosen by their likelihood."""
    return isinstance(problem, HasLabels) and problem.likelihood_per is not None


@runtime_checkable
class HasImages(Protocol):
    """A problem whose questions may be about images, so that their text alone is not the question."""

    @property
    def asks_about_images(self) -> bool:
        """Return whether they are."""
        ...


@runtime_checkable
class HasGold(Protocol):
    """A problem that reads its gold answers otherwise than `Problem.extract` reads a reply."""

    def gold(self, example: Example) -> str | None:
        """Return the gold answer in canonical form; ``None`` if it cannot be read."""
        ...


@runtime_checkable
class HasSpan(Protocol):
    """A problem that knows where in a reply its answer stands."""

    def span(self, text: str, example: Example) -> tuple[int, int] | None:
        """Return start and end of the answer that `Problem.extract` finds in a text; ``None`` if it cannot tell."""
        ...


@runtime_checkable
class HasMany(Protocol):
    """A problem that finds the answers of many completions faster together than one by one."""

    def extract_all(self, texts: Sequence[str], examples: Sequence[Example]) -> list[str | None]:
        """Return what `Problem.extract` returns for each text and its example."""
        ...


@runtime_checkable
class HasInstruction(Protocol):
    """A problem with a prompt template that ``problem.instruction`` of its config replaces."""

    @property
    def instruction(self) -> str:
        """The template in use, with ``{question}`` in the place of the question."""
        ...


@dataclass(frozen=True, slots=True)
class Replies:
    """The completions for one question, for a problem's own figure.

    Attributes:
        question: The example's question.
        gold: Its gold answer.
        base: The base's completion.
        others: Completions of candidates that do not vote, drawn without looking at their scores; may be empty.
        experts: Completions of the experts that vote, by rank.
        answer: The experts' vote; None if all abstained.
        correct: Whether the vote is right.
    """

    question: str
    gold: str
    base: str
    others: tuple[str, ...]
    experts: tuple[str, ...]
    answer: str | None
    correct: bool


@runtime_checkable
class HasFigure(Protocol):
    """A problem whose answers can be drawn."""

    def figure(self, replies: Sequence[Replies]) -> Figure:
        """Draw the answers to a few questions of the test split."""
        ...


def prompt(instruction: str, system: str | None, question: str) -> list[Message]:
    """Fill a template.

    Args:
        instruction: Text of the user's turn with ``{question}`` in it. Other braces stay as they are,
            so a template may show JSON or LaTeX.
        system: Text of a system turn, or ``None`` for no such turn.
        question: What takes the place of ``{question}``.
    """
    user: Message = {"role": "user", "content": instruction.replace("{question}", question)}
    return [user] if system is None else [{"role": "system", "content": system}, user]
