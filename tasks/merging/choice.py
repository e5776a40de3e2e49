"""Chooses a merge on the validation split, and lets it stand only where it beats the base there."""

from __future__ import annotations

from collections.abc import Sequence

from thickets.storage.scores.database import BASE_ID
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.merging.trials import Trial
from thickets.tasks.results.merging import MergeChoice, MergeTrial
from thickets.tasks.statistics import accuracy_of, paired_difference, shares
from thickets.tasks.task import task


@task("choose-merge", retries=2, retry_delays_s=[2])
def choose_merge(book: ScoreBook, trials: Sequence[Trial]) -> MergeChoice:
    """Compare merges with each other and with the base on the validation split (Prefect task).

    The best of several is chosen and judged on the same questions, which flatters it a little; the test split tells.

    Args:
        book: The run's scores; every trial and the base have answered the validation split.
        trials: At least one.
    """
    with book.open() as store:
        base = store.answers("validation", [BASE_ID])
        answers = [store.answers("validation", [trial.merge.id]) for trial in trials]
    found = tuple(
        MergeTrial(id=trial.merge.id, label=trial.label, k=trial.k, radius=trial.radius, accuracy=accuracy_of(theirs))
        for trial, theirs in zip(trials, answers, strict=True)
    )
    best = max(range(len(found)), key=lambda index: (found[index].accuracy.total, -index))
    return MergeChoice(trials=found, best=best, minus_base=paired_difference(shares(answers[best]), shares(base)))
