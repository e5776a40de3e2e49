"""Chooses a merge on the validation split, and lets it stand only where it passes the gate there."""

from __future__ import annotations

from collections.abc import Sequence

from thickets.storage.scores.database import BASE_ID
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.merging.coordinates import Climb
from thickets.tasks.merging.trials import Trial
from thickets.tasks.problems.splits import SplitName
from thickets.tasks.results.merging import CoordinateSearch, Gate, MergeChoice, MergeTrial
from thickets.tasks.statistics import accuracy_of, paired_difference, shares
from thickets.tasks.task import task
from thickets.tasks.types import Merge


@task("choose-merge", retries=2, retry_delays_s=[2])
def choose_merge(
    book: ScoreBook, trials: Sequence[Trial], search: CoordinateSearch | None = None, gate: Gate = "interval"
) -> MergeChoice:
    """Compare merges with each other and with the base on the validation split (Prefect task).

    The best of several is chosen and judged on the same questions, which flatters it a little; the test split tells.

    Args:
        book: The run's scores; every trial and the base have answered the validation split.
        trials: At least one.
        search: The coordinate search that the last of them comes from.
        gate: What the best one has to pass.
    """
    with book.open() as store:
        base = store.answers("validation", [BASE_ID])
        answers = [store.answers("validation", [trial.merge.id]) for trial in trials]
    found = tuple(
        MergeTrial(
            id=trial.merge.id,
            label=trial.label,
            direction=trial.direction,
            k=trial.k,
            radius=trial.radius,
            accuracy=accuracy_of(theirs),
            is_tuned=trial.is_tuned,
        )
        for trial, theirs in zip(trials, answers, strict=True)
    )
    best = max(range(len(found)), key=lambda index: (found[index].accuracy.total, -index))
    gap = paired_difference(shares(answers[best]), shares(base))
    return MergeChoice(trials=found, best=best, minus_base=gap, search=search, gate=gate)


def points_of(book: ScoreBook, split: SplitName, merges: Sequence[Merge]) -> dict[str, int]:
    """Return the summed scores of merges, in thousandths, by their ids; all have answered the split."""
    with book.open() as store:
        return {each.id: int(store.answers(split, [each.id])["score"].sum()) for each in merges}


def describe_climb(book: ScoreBook, trial: Trial, found: Climb) -> CoordinateSearch:
    """Describe a coordinate search that began with a trial."""
    with book.open() as store:
        before, after = (accuracy_of(store.answers("selection", [merge.id])) for merge in (trial.merge, found.merge))
    return CoordinateSearch(
        label=trial.label,
        n_blocks=found.n_blocks,
        n_moves=found.n_moves,
        before=before,
        after=after,
        ids=tuple(merge.id for merge in found.scored),
    )
