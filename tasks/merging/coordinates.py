"""Coordinate search: changes the coefficients of a merge block by block while its score rises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from thickets.tasks.types import Merge

MOST_BLOCKS = 8
"""Of the candidates of a merge. With few questions a single one of many candidates moves no score that can be seen."""


@dataclass(frozen=True, slots=True)
class Climb:
    """Result of a coordinate search.

    Attributes:
        merge: The best merge found; the first one where none is better.
        before: Score of the first merge.
        after: Score of the best one.
        n_blocks: Blocks of candidates.
        n_moves: Steps that changed a block.
        scored: Every merge that was scored, the first one included.
    """

    merge: Merge
    before: int
    after: int
    n_blocks: int
    n_moves: int
    scored: tuple[Merge, ...]


def climb(start: Merge, n_steps: int, score: Callable[[Sequence[Merge]], list[int]]) -> Climb:
    """Search the coefficients of a merge for a better score.

    The candidates are cut into blocks of like coefficients, and every block has a factor, at first 1. A step adds a
    stride to the factor of one block, and takes it off; it keeps what has the better score if that is better than
    before. Steps go from block to block; the stride is 1 in the first pass (count twice, or leave out) and half of the
    one before in each later pass. The same scores give the same search.

    Args:
        start: The merge.
        n_steps: How many steps; each scores two merges at most.
        score: Scores merges, all on the same questions.
    """
    blocks = _blocks(start)
    factors, best = [1.0] * len(blocks), start
    scores = {start.id: score([start])[0]}
    seen, n_moves = [start], 0
    for step in range(n_steps):
        block, stride = step % len(blocks), 0.5 ** (step // len(blocks))
        tried: list[tuple[list[float], Merge]] = []
        for change in (stride, -stride):
            moved = [*factors[:block], factors[block] + change, *factors[block + 1 :]]
            if (found := _scaled(start, blocks, moved)) is not None:
                tried.append((moved, found))
        new = list({found.id: found for _, found in tried if found.id not in scores}.values())
        if new:
            scores |= {each.id: points for each, points in zip(new, score(new), strict=True)}
            seen += new
        moved, found = max(tried, key=lambda each: scores[each[1].id])  # one of the two has somebody left
        if scores[found.id] > scores[best.id]:
            factors, best, n_moves = moved, found, n_moves + 1
    return Climb(best, scores[start.id], scores[best.id], len(blocks), n_moves, tuple(seen))


def most_scored(n_steps: int) -> int:
    """Return how many merges a search of so many steps scores, at most."""
    return 1 + 2 * n_steps if n_steps else 0


def _blocks(merge: Merge) -> list[list[int]]:
    """Cut the places of the members into blocks, the largest coefficients first; of equal ones the earlier."""
    order = np.argsort(-np.asarray(merge.coefficients), kind="stable")
    return [part.tolist() for part in np.array_split(order, min(MOST_BLOCKS, len(order)))]


def _scaled(merge: Merge, blocks: Sequence[Sequence[int]], factors: Sequence[float]) -> Merge | None:
    """Multiply the coefficients of each block by its factor; None where nobody is left."""
    by_place = {place: factor for block, factor in zip(blocks, factors, strict=True) for place in block}
    pairs = [
        (member, coefficient * by_place[place])
        for place, (member, coefficient) in enumerate(zip(merge.members, merge.coefficients, strict=True))
        if by_place[place] != 0
    ]
    return Merge(tuple(member for member, _ in pairs), tuple(c for _, c in pairs)) if pairs else None
