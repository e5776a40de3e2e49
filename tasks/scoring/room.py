"""Measures every prompt of a run against the model's room before anything is generated; refuses or drops long rows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace

from thickets.storage.errors import InputError
from thickets.tasks.engines.prompts import Template
from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.splits import Split, content_sha256
from thickets.tasks.types import Example, Prompt

_FIRST_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Room:
    """What a prompt and its answer have to fit into.

    Attributes:
        context: Most tokens of both together; None: no limit is known.
        max_tokens: Most tokens of the answer.
    """

    context: int | None
    max_tokens: int

    @property
    def prompt(self) -> int | None:
        """Most tokens of a prompt; None: no limit is known."""
        return None if self.context is None else self.context - self.max_tokens


@dataclass(frozen=True, slots=True)
class Fitted:
    """A split whose prompts all leave room for an answer.

    Attributes:
        split: The split, less what was dropped.
        prompts: The rendered prompts, one per example.
        longest: Tokens of the longest.
        n_dropped: Rows that were left out.
    """

    split: Split
    prompts: tuple[Prompt, ...]
    longest: int
    n_dropped: int


@dataclass(frozen=True, slots=True)
class _TooLong:
    split: str
    example: Example
    n_tokens: int


def fit(splits: Iterable[Split], problem: Problem, template: Template, room: Room, *, drop: bool) -> list[Fitted]:
    """Render and measure every prompt.

    A dropped row is not replaced: the others stay where they are, whatever the model or the limit of an answer.

    Args:
        splits: The splits.
        problem: Turns examples into messages.
        template: Renders messages, and counts tokens.
        room: What a prompt has to fit into.
        drop: Leave out rows that are too long, instead of refusing them (``data.too_long``).

    Raises:
        InputError: A row is too long, and is not to be dropped, or no row of a split is left; the message names it.
    """
    most = room.prompt
    if most is not None and most < 1:
        raise InputError(
            f"decoding.max_tokens: found {room.max_tokens}, but this model holds {room.context} tokens, prompt and "
            "answer together; lower it"
        )
    found, too_long = [], []
    for split in splits:
        prompts = [template.render(problem.messages(example)) for example in split.examples]
        lengths = template.lengths(prompts) if prompts else []
        long = {i: n for i, n in enumerate(lengths) if most is not None and n > most}
        too_long += [_TooLong(split.name, split.examples[i], n) for i, n in long.items()]
        found.append(_without(split, prompts, lengths, long))
    emptied = [each.split.name for each in found if each.n_dropped and not each.split.examples]
    if too_long and (emptied or not drop):
        raise InputError(_refusal(too_long, room, emptied if drop else []))
    return found


def dropped_line(fitted: Iterable[Fitted], room: Room) -> str | None:
    """Say how many rows were dropped from which split; None if none were."""
    each = [
        f"{one.n_dropped} of {one.n_dropped + len(one.prompts)} {one.split.name} rows"
        for one in fitted
        if one.n_dropped
    ]
    if not each:
        return None
    return (
        f"data.too_long: drop leaves out {', '.join(each)}, whose prompts have more than the {room.prompt} tokens that "
        f"fit beside an answer of {room.max_tokens}"
    )


def _without(split: Split, prompts: Sequence[Prompt], lengths: Sequence[int], long: Container[int]) -> Fitted:
    """Leave out the rows at some places."""
    kept = [i for i in range(len(prompts)) if i not in long]
    examples = tuple(split.examples[i] for i in kept)
    return Fitted(
        split if len(kept) == len(prompts) else replace(split, examples=examples, sha256=content_sha256(examples)),
        tuple(prompts[i] for i in kept),
        max((lengths[i] for i in kept), default=0),
        len(prompts) - len(kept),
    )


def _refusal(too_long: Sequence[_TooLong], room: Room, emptied: Sequence[str]) -> str:
    first = next((each for each in too_long if each.split in emptied), too_long[0])
    words = " ".join(first.example.shown.split())
    shown = words if len(words) <= _FIRST_CHARACTERS else words[:_FIRST_CHARACTERS] + "..."
    others = f" ({len(too_long)} rows are too long, this is the first)" if len(too_long) > 1 else ""
    drop = f"; dropping leaves nothing of {' and '.join(emptied)}" if emptied else ""
    remedy = "" if emptied else "set data.too_long to drop to leave such rows out, "
    return (
        f"data.too_long: the prompt of {first.split} row {first.example.id!r} ({shown!r}) has {first.n_tokens} tokens, "
        f"and {room.prompt} fit beside an answer of {room.max_tokens} in this model's {room.context}{others}{drop}; "
        f"{remedy}lower decoding.max_tokens, or shorten problem.instruction, problem.system or the row"
    )
