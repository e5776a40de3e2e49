"""The merging stage of a search: merges answer the validation split, and the best one stands if it beats the base."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from thickets.flows.config.merge import MergeConfig
from thickets.flows.runtime.environment import log
from thickets.flows.search.scoring import Scoring
from thickets.tasks.merging.choice import choose_merge, describe_climb, points_of
from thickets.tasks.merging.coordinates import Climb, climb
from thickets.tasks.merging.trials import Trial, double_radii, plan_lines, plan_trials
from thickets.tasks.results.merging import PASSED, CoordinateSearch, MergeChoice
from thickets.tasks.results.text import percent
from thickets.tasks.types import Merge


@dataclass(frozen=True, slots=True)
class Merged:
    """The merges of a run.

    Attributes:
        choice: Their scores on the validation split.
        trial: The one that beats the base there; None: none does.
    """

    choice: MergeChoice
    trial: Trial | None


def merge_candidates(scoring: Scoring, config: MergeConfig) -> Merged | None:
    """Try the merges that a configuration names on the validation split.

    Args:
        scoring: Of the run; its book has the scores of the selection split, and the base's on validation.
        config: Which merges.

    Returns:
        None where there is none to be tried: all candidates of every sigma score the same.
    """
    trials = _try_radii(scoring, config)
    if not trials:
        log.warning("merge: every candidate scores the same on the selection split; there is nothing to weigh")
        return None
    search: CoordinateSearch | None = None
    if config.coordinate_steps:
        search, tuned = _tune(scoring, trials, config.coordinate_steps)
        trials += [tuned] if tuned is not None else []
    choice = choose_merge(scoring.book, trials, search, config.gate)
    stands = choice.is_accepted
    log.info(f"{choice.chosen.label}: {'chosen' if stands else f'not {PASSED[config.gate]}'} on the validation split")
    return Merged(choice, trials[choice.best] if stands else None)


def _try_radii(scoring: Scoring, config: MergeConfig) -> list[Trial]:
    """Score the merges of every direction on the validation split, and go farther where the farthest is the best."""
    book, run = scoring.book, scoring.plan.config
    k_values = config.ks(run.selection.k_values, run.population.size)
    with book.open() as store:
        board, scored = store.leaderboard("selection", limit=max(k_values)), store.common_scores("selection")
    if not config.k:  # a race may have left fewer than an eighth
        k_values = tuple(k for k in k_values if k <= board.height)
    lines = plan_lines(board, scored, config.directions, k_values)
    trials = plan_trials(lines, config.radii)
    new, label = trials, "merges"
    for number in range(config.doublings + 1):
        if not new:
            break
        _score(scoring, "validation", [trial.merge for trial in new], label)
        if number < config.doublings:
            points = points_of(book, "validation", [trial.merge for trial in trials])
            new, label = double_radii(lines, trials, points), f"merges twice as far {number + 1}"
            trials = [*trials, *new]
    return trials


def _tune(scoring: Scoring, trials: Sequence[Trial], n_steps: int) -> tuple[CoordinateSearch, Trial | None]:
    """Search the coefficients of the best trial on the selection split; validate what is found, if it is another."""
    points = points_of(scoring.book, "validation", [trial.merge for trial in trials])
    start = max(trials, key=lambda trial: points[trial.merge.id])  # the first of equals

    def score(merges: Sequence[Merge]) -> list[int]:
        _score(scoring, "selection", merges, "coordinates")
        return list(points_of(scoring.book, "selection", merges).values())

    found = climb(start.merge, n_steps, score)
    described = describe_climb(scoring.book, start, found)
    log.info(
        f"coordinate search: {found.n_moves} of {n_steps} steps changed the {start.label}, "
        f"{percent(described.before.value)} to {percent(described.after.value)} on the selection split"
    )
    if found.merge.id in points:
        return described, None
    _score(scoring, "validation", [found.merge], "coordinates")
    return described, _tuned(start, found)


def _tuned(start: Trial, found: Climb) -> Trial:
    radius = math.sqrt(sum(coefficient**2 for coefficient in found.merge.coefficients))
    return replace(start, radius=radius, merge=found.merge, is_tuned=True)


def _score(scoring: Scoring, split: str, merges: Sequence[Merge], label: str) -> None:
    scoring.book.register(merges)
    scoring.ask(split, merges, label=label)
