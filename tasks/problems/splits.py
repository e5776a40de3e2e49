"""Draws the three disjoint splits of a run by a seeded shuffle, and hashes them (docs/design.md#splits)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

from thickets.storage.errors import InputError
from thickets.tasks.datafiles.rows import asked_of
from thickets.tasks.problems.base import Problem
from thickets.tasks.types import Example

SplitName = Literal["selection", "validation", "test", "training"]


class Draw(TypedDict):
    """What `draw_splits` takes, for those that pass it on."""

    selection: int
    validation: int
    test: int
    seed: int
    redraw: NotRequired[int | None]


@dataclass(frozen=True, slots=True)
class Split:
    """Examples that a run uses for one purpose.

    Attributes:
        name: ``"selection"`` ranks candidates, ``"validation"`` chooses K and every other knob, ``"test"`` is touched
            once, at the end. ``"training"`` is for distillation, and disjoint from the three.
        examples: The examples, in a fixed order.
        sha256: Hash of the examples, see `content_sha256`.
    """

    name: SplitName
    examples: tuple[Example, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Splits:
    """The three splits of a run; no question is in two of them."""

    selection: Split
    validation: Split
    test: Split

    def __iter__(self) -> Iterator[Split]:
        return iter((self.selection, self.validation, self.test))

    def with_changed(self, splits: Iterable[Split]) -> Splits:
        """Return these splits with others in place of those of the same name."""
        changed = {split.name: split for split in splits}
        return Splits(*(changed.get(split.name, split) for split in self))


def draw_splits(
    problem: Problem, *, selection: int, validation: int, test: int, seed: int, redraw: int | None = None
) -> Splits:
    """Draw disjoint splits of the given sizes.

    With an official test set, the test split is drawn from it, and rows of the pool whose question is in it (drawn or
    not) are dropped. Otherwise all three come from the pool.

    Args:
        problem: The problem.
        selection: Rows that rank candidates.
        validation: Rows that choose K and every other knob.
        test: Rows of the final evaluation.
        seed: Key of the shuffle and, for a generated problem, of its questions.
        redraw: Draws selection and validation split once more, from what the three splits leave of the data (a
            generated problem makes more); the test split stays. None: the first draw.

    Raises:
        InputError: A size is negative, data is short (the message says by how many rows), or one id names two
            questions.
    """
    sizes: dict[SplitName, int] = {"selection": selection, "validation": validation, "test": test}
    for name, size in sizes.items():
        if size < 0:
            raise InputError(f"{name} is {size}; a split has 0 or more examples")
    official = problem.test_examples()
    if official is None:
        pool = _shuffle(_distinct(problem.examples(selection + validation + test, seed)), seed)
        _require(problem, sizes, len(pool), "the data")
        test_rows = pool[selection + validation : selection + validation + test]
    else:
        held_out = _distinct(official)
        pool = _shuffle(_without(problem.examples(selection + validation, seed), held_out), seed)
        _require(problem, {"selection": selection, "validation": validation}, len(pool), "the training data")
        _require(problem, {"test": test}, len(held_out), "the official test data")
        test_rows = _shuffle(held_out, seed)[:test]
    splits = Splits(
        selection=_split("selection", pool[:selection]),
        validation=_split("validation", pool[selection : selection + validation]),
        test=_split("test", test_rows),
    )
    if redraw is None:
        return splits
    del sizes["test"]
    return splits.with_changed(_draw_more(problem, splits, "redraw", sizes, redraw))


def draw_training(
    problem: Problem, splits: Splits, size: int, seed: int, field: str = "distillation.examples"
) -> Split:
    """Draw examples to train on, none of them in the three splits or in an official test set.

    The three splits do not depend on it. A generated problem makes other questions under another seed; of a file the
    rows that are in none of the three remain.

    Args:
        problem: The problem.
        splits: The run's three splits.
        size: Rows to draw.
        seed: Key of the draw; of a file, a smaller size gives the beginning of a larger one.
        field: Who asks for them, for the error.

    Raises:
        InputError: Data is short (the message says by how many rows), or one id names two questions.
    """
    [training] = _draw_more(problem, splits, "training", {"training": size}, seed, field)
    return training


def _draw_more(
    problem: Problem, splits: Splits, what: str, sizes: Mapping[SplitName, int], seed: int, field: str | None = None
) -> Iterator[Split]:
    held_out = _distinct(
        [*(example for split in splits for example in split.examples), *(problem.test_examples() or ())]
    )
    # Not the run's seed: a generated problem would begin with the very questions of the three splits.
    own_seed = int.from_bytes(hashlib.blake2b(f"thickets {what} 1:{seed}".encode(), digest_size=7).digest(), "little")
    needed = sum(sizes.values())
    pool = _shuffle(_without(problem.examples(needed + len(held_out), own_seed), held_out), own_seed)
    _require(problem, sizes, len(pool), "what the three splits leave of the data", field)
    for name, size in sizes.items():
        yield _split(name, pool[:size])
        del pool[:size]


def content_sha256(examples: Iterable[Example]) -> str:
    """Hash examples in their order: ids, questions, gold answers, the metadata that verifiers use, images' content."""
    rows = [
        [example.id, example.question, example.answer, example.metadata]
        + ([] if example.image is None else [{"image": example.image.sha256}])
        for example in examples
    ]
    canonical = json.dumps(rows, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _split(name: SplitName, examples: list[Example]) -> Split:
    return Split(name, tuple(examples), content_sha256(examples))


def _shuffle(examples: list[Example], seed: int) -> list[Example]:
    # By hash and not by random.shuffle: the order depends on the seed and the ids alone, not on the Python version and
    # not on the order of the file.
    return sorted(examples, key=lambda example: hashlib.sha256(json.dumps([seed, example.id]).encode()).digest())


def _distinct(examples: Iterable[Example]) -> list[Example]:
    """Drop repeated questions; the first of each stays."""
    by_question: dict[str, Example] = {}
    ids: dict[str, str] = {}
    for example in examples:
        question = asked_of(example)
        if question in by_question:
            continue
        _check_id(example, ids)
        ids[example.id] = question
        by_question[question] = example
    return list(by_question.values())


def _without(examples: Iterable[Example], held_out: list[Example]) -> list[Example]:
    """Drop repeated questions, and those that are held out."""
    ids = {example.id: asked_of(example) for example in held_out}
    questions = set(ids.values())
    kept = []
    for example in _distinct(examples):
        if asked_of(example) not in questions:
            _check_id(example, ids)
            kept.append(example)
    return kept


def _check_id(example: Example, ids: dict[str, str]) -> None:
    if example.id in ids:
        raise InputError(
            f"id {example.id!r} names two questions ({ids[example.id][:40]!r} and {example.question.strip()[:40]!r}); "
            "make ids unique across problem.path and problem.test_path, or leave problem.id_column empty to make them "
            "from the questions"
        )


def _require(
    problem: Problem, sizes: Mapping[SplitName, int], found: int, source: str, field: str | None = None
) -> None:
    needed = sum(sizes.values())
    if found < needed:
        each = ", ".join(f"{field or f'data.{name}'} needs {size}" for name, size in sizes.items())
        raise InputError(
            f"{source} of problem {problem.name} is too short: {each}, {needed} rows in all; "
            f"found {found} distinct questions, {needed - found} are missing; ask for fewer or add data"
        )
