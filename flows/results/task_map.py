"""Makes the map of candidates by tasks from finished runs of one home."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from thickets.flows.results.shared_tasks import OpenRun, SharedTasks, open_runs, shared_tasks
from thickets.storage.home import Home
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.evaluation.task_map import sigma_map
from thickets.tasks.results.intervals import Difference
from thickets.tasks.results.task_map import MappedTask, TaskMap, Transfer
from thickets.tasks.statistics import paired_difference
from thickets.tasks.types import FULL

_Scores = NDArray[np.float64]


def make_map(home: Home, run_ids: Sequence[str]) -> TaskMap | str:
    """Make the map of some runs with different problems and the same candidates.

    Args:
        home: The home of the runs.
        run_ids: Two or more finished runs.

    Returns:
        The map, or the reason why there is none.

    Raises:
        InputError: A run is not there or not finished.
    """
    with open_runs(home, run_ids) as runs:
        tasks = shared_tasks(runs)
        return tasks if isinstance(tasks, str) else _map(tasks)


def _map(tasks: SharedTasks) -> TaskMap:
    base = [np.array(run.scores.base_outcomes("selection"), dtype=np.int64) for run in tasks.runs]
    return TaskMap(
        tasks=tuple(
            MappedTask(task=label, n_questions=len(own), base=float(own.mean()) / FULL)
            for label, own in zip(tasks.labels, base, strict=True)
        ),
        sigmas=tuple(sigma_map(sigma, ids, scores, base) for sigma, ids, scores in tasks.by_sigma() if ids),
        transfers=tuple(_transfers(tasks, base)),
    )


def _transfers(tasks: SharedTasks, base: Sequence[NDArray[np.int64]]) -> Iterator[Transfer]:
    for run, label in zip(tasks.runs, tasks.labels, strict=True):
        for other, name, outcomes, own in zip(tasks.runs, tasks.labels, tasks.outcomes, base, strict=True):
            if other is run:
                difference = _on_test(run)
            else:
                asked = outcomes.filter(pl.col("candidate_id").is_in(run.expert_ids))["score"].to_list()
                if not asked:  # racing has dropped them there, or the other run has fewer candidates
                    continue
                difference = _over_base(np.array(asked, dtype=np.float64), own.astype(np.float64))
            yield Transfer(experts_of=label, on=name, difference=difference)


def _on_test(run: OpenRun) -> Difference:
    """Compare a run's experts, one by one, with the base on the run's own test split."""
    experts = run.scores.answers("test", run.expert_ids)["score"].cast(pl.Int64).to_numpy()
    base = run.scores.answers("test", [BASE_ID])["score"].cast(pl.Int64).to_numpy()
    return _over_base(experts.reshape(-1, len(base)).astype(np.float64), base.astype(np.float64))


def _over_base(experts: _Scores, base: _Scores) -> Difference:
    """Compare the mean of some experts with the base, question by question.

    Args:
        experts: In thousandths, `[n_experts, n_questions]`.
        base: In thousandths, `[n_questions]`.
    """
    return paired_difference((experts.mean(axis=0) / FULL).tolist(), (base / FULL).tolist())
