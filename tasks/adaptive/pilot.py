"""The pilot: decides from the first candidates of a population which sigmas the later ones get.

What the best of many candidates gain from one more candidate of a sigma is how far it can be expected to lie above the
worst of the best. So the sigmas share the later candidates by that expectation, squared, and a part of them evenly, so
that none is starved by an unlucky pilot. Everything is a pure function of the scores of the pilot's answers, and the
candidate at a position depends on the pilot and on its position alone: a smaller population stays the beginning of a
larger one. How the rule was chosen: docs/sigma.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import polars as pl
from scipy import optimize

from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.results.pilot import Pilot, PilotSigma
from thickets.tasks.seeds import with_sigmas_after
from thickets.tasks.selection.luck import Abilities, SigmaCounts, abilities, table_counts, unit_of
from thickets.tasks.task import task

# Candidates count as far as they lie above the best hundredth of an even population: 50 of 5000 vote in the paper. A
# share that followed the size of the population would make other candidates of the same position.
TOP_SHARE = 0.01
_MILLION, _BILLION = 1_000_000, 1_000_000_000


def learn(outcomes: pl.DataFrame, even: float) -> Pilot:
    """Share out the later candidates among the sigmas by the pilot's answers.

    Args:
        outcomes: sigma, correct, score (lists over the same questions for all, in one order); a row per candidate.
        even: Share of the later candidates that is divided evenly among the sigmas, between 0 and 1.
    """
    scores = np.array(outcomes["score"].to_list(), dtype=np.int64)
    unit = unit_of(int(scores.sum()), int((scores**2).sum()))
    of_sigma = {sigma: (outcomes["sigma"] == sigma).to_numpy() for sigma in sorted(outcomes["sigma"].unique())}
    groups = [table_counts(sigma, scores[rows], unit) for sigma, rows in of_sigma.items()]
    n_correct = [sum(map(sum, outcomes.filter(rows)["correct"].to_list())) for rows in of_sigma.values()]
    known = [abilities(group) for group in groups]
    return Pilot(
        n_candidates=outcomes.height,
        n_questions=groups[0].n_questions,
        sigmas=tuple(
            PilotSigma(
                sigma=group.sigma,
                n_candidates=group.n_candidates,
                n_correct=right,
                points=None if unit == 1 else sum(group.by_candidate),
                spread=0.0 if ability is None else ability.expected_spread,
                millionths=share,
            )
            for group, right, ability, share in zip(
                groups, n_correct, known, millionths(groups, known, even), strict=True
            )
        ),
    )


def millionths(groups: Sequence[SigmaCounts], known: Sequence[Abilities | None], even: float) -> list[int]:
    """Compute the sigmas' shares of the later candidates.

    A sigma's expected excess is rounded to billionths before it is compared; from there on all numbers are integers, so
    that the last bits of a sum of doubles decide nothing.

    Args:
        groups: The pilot's counts, by sigma.
        known: The estimated abilities of each sigma's candidates; None: all of them have the same accuracy.
        even: See `learn`.

    Returns:
        One per sigma, at least `even` divided by the number of sigmas, and 1,000,000 in all.
    """
    pairs = list(zip(groups, known, strict=True))
    bar = _bar(pairs)
    squares = [round(_BILLION * _excess(group, ability, bar)) ** 2 for group, ability in pairs]
    if sum(squares) == 0:  # none is expected to lie above the bar: no reason to prefer one
        squares = [1] * len(groups)
    by_value = _MILLION - round(_MILLION * even)
    shares = _whole(by_value, squares)
    return [share + alike for share, alike in zip(shares, _whole(_MILLION - by_value, [1] * len(groups)), strict=True)]


def spread_out(shares: Sequence[int]) -> Iterator[int]:
    """Yield places in `shares` without end, so that every prefix has them as nearly in proportion as it can.

    Each time the place that is furthest behind its share comes next; ties go to the first.
    """
    total, given = sum(shares), [0] * len(shares)
    n = 0
    while True:
        n += 1
        behind = [share * n - total * had for share, had in zip(shares, given, strict=True)]
        place = behind.index(max(behind))
        given[place] += 1
        yield place


def shift(drawn: pl.DataFrame, pilot: Pilot) -> pl.DataFrame:
    """Give the later candidates sigmas in the pilot's shares; the first candidates and every seed stay.

    Args:
        drawn: The even population, as `thickets.tasks.seeds.population` gives it.
        pilot: Made from its first candidates.
    """
    places = islice(spread_out([row.millionths for row in pilot.sigmas]), max(0, drawn.height - pilot.n_candidates))
    return with_sigmas_after(drawn, pilot.n_candidates, [pilot.sigmas[place].sigma for place in places])


@task("learn-sigmas", retries=2, retry_delays_s=[2])
def learn_sigmas(book: ScoreBook, n_candidates: int, even: float) -> Pilot:
    """Prefect task over `learn`, on the selection split's answers of the first `n_candidates`."""
    with book.open() as store:
        return learn(store.first_outcomes("selection", n_candidates), even)


def _bar(pairs: Sequence[tuple[SigmaCounts, Abilities | None]]) -> float:
    """Find the accuracy that `TOP_SHARE` of an even population's candidates exceed."""

    def too_many(accuracy: float) -> float:
        return sum(_above(group, ability, accuracy) for group, ability in pairs) / len(pairs) - TOP_SHARE

    return float(optimize.brentq(too_many, -10.0, 10.0))  # no deviation is larger than 1


def _above(group: SigmaCounts, ability: Abilities | None, accuracy: float) -> float:
    return float(_mean(group) > accuracy) if ability is None else ability.above(accuracy)


def _excess(group: SigmaCounts, ability: Abilities | None, accuracy: float) -> float:
    return max(0.0, _mean(group) - accuracy) if ability is None else ability.excess(accuracy)


def _mean(group: SigmaCounts) -> float:
    return sum(group.by_candidate) / (group.n_candidates * group.full)


def _whole(total: int, weights: Sequence[int]) -> list[int]:
    """Divide a total by weights into integers that add up to it; what is left over goes to the first."""
    parts = [total * weight // sum(weights) for weight in weights]
    parts[0] += total - sum(parts)
    return parts
