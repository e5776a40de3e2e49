"""The first prompt of a run as its model reads it, and the gold answer as its verifier reads it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from thickets.flows.plan import RunPlan
from thickets.storage.errors import InputError
from thickets.tasks.problems import Problem
from thickets.tasks.problems.base import HasGold
from thickets.tasks.types import Example, Prompt, text_of

_SHOWN_TOKENS = 6  # at the beginning, and as many at the end


class Gold(BaseModel):
    """A gold answer."""

    model_config = ConfigDict(frozen=True)

    written: str = Field(description="As it stands in the data.")
    read: str | None = Field(description="In canonical form, as replies are compared with it; null: it has none.")
    aliases: tuple[str, ...] = Field((), description="Other accepted answers, as they stand in the data.")


class Token(BaseModel):
    """One token of a prompt."""

    model_config = ConfigDict(frozen=True)

    id: int | None = Field(description="In the tokenizer's vocabulary; null for a signal's value.")
    text: str


class FirstPrompt(BaseModel):
    """One prompt of a run, rendered by the model's own template."""

    model_config = ConfigDict(frozen=True)

    example_id: str
    text: str = Field(description="Special tokens are written out; an image is its placeholder.")
    image: str | None = Field(None, description="What the data calls the question's image; null: it has none.")
    n_tokens: int
    beginning: tuple[Token, ...] = Field(description="The first tokens; all of them in a short prompt.")
    end: tuple[Token, ...] = Field(description="The last tokens; none in a short prompt.")
    bos: str | None = Field(description="The token that begins a sequence; null if the tokenizer has none.")
    n_bos: int = Field(description="How many of these the prompt begins with.")
    gold: Gold


def read_gold(problem: Problem, example: Example) -> Gold:
    """Return an example's gold answer with the form in which replies are compared with it."""
    read = problem.gold(example) if isinstance(problem, HasGold) else problem.extract(example.answer, example)
    return Gold(written=example.answer, read=read, aliases=example.accepted[1:])


def first_prompt(plan: RunPlan, row: str | None = None) -> FirstPrompt:
    """Return the prompt of an example.

    Args:
        plan: The run.
        row: Id or question of the example; None: the first question of the first split.

    Raises:
        InputError: No example of the run has that id.
    """
    example, prompt = _asked(plan, row)
    found = plan.template.tokens(prompt)
    tokens = tuple(Token(id=id_, text=shown) for id_, shown in zip(found.ids, found.texts, strict=True))
    is_short = len(tokens) <= 2 * _SHOWN_TOKENS
    return FirstPrompt(
        example_id=example.id,
        text=text_of(prompt),
        image=None if example.image is None else example.image.name,
        n_tokens=len(tokens),
        beginning=tokens if is_short else tokens[:_SHOWN_TOKENS],
        end=() if is_short else tokens[-_SHOWN_TOKENS:],
        bos=found.bos,
        n_bos=found.n_bos,
        gold=read_gold(plan.problem, example),
    )


def is_meant(example: Example, row: str) -> bool:
    """Tell whether a row named by its id or its question is this example; under some questions stand options."""
    asked = example.question
    if "options" in example.metadata:
        asked = asked.rpartition("\n\n")[0]
    return example.id == row or asked.split() == row.split()


def _asked(plan: RunPlan, row: str | None) -> tuple[Example, Prompt]:
    """Return an example with its prompt."""
    for block in plan.blocks:
        for example, prompt in zip(block.examples, block.prompts, strict=True):
            if row is None or is_meant(example, row):
                return example, prompt
    first = ", ".join(example.id for example in plan.blocks[0].examples[:3])
    raise InputError(f"--row: no question of the run has the id or text {row!r}; its first ones are {first}")
