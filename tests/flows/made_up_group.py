"""A group of runs that never were, from made-up answers: for whatever is a pure function of a comparison and a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.flows.summaries import a_summary
from thickets.flows.results.compare import _compared
from thickets.flows.results.comparison import Comparison, DiscordanceTable, Group, Pair
from thickets.tasks.evaluation.discordance import TaskScores, discordance
from thickets.tasks.evaluation.task_map import sigma_map
from thickets.tasks.results.task_map import MappedTask, TaskMap, Transfer
from thickets.tasks.statistics import paired_difference

TASKS = ("largest_number", "sums", "letters", "divisors", "weekdays")
SIGMAS = (0.004, 0.008)


def made_up_scores(n: int, n_questions: int, n_tasks: int, seed: int, shared: float = 0.5) -> list[NDArray[np.int64]]:
    """Draw answers of n candidates to every task; `shared` is how much of their ability all tasks have in common."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n)
    tables = []
    for _ in range(n_tasks):
        ability = shared * common + (1 - shared) * rng.normal(size=n) - 0.8
        difficulty = rng.normal(size=n_questions)
        right = rng.random((n, n_questions)) < 1 / (1 + np.exp(difficulty - ability[:, None]))
        tables.append(1000 * right.astype(np.int64))
    return tables


def made_up_group(
    names: Sequence[str] = TASKS,
    n: int = 16,
    n_questions: int = 32,
    shared: float = 0.5,
    k: int = 5,
    flat: str | None = None,
) -> tuple[Group, TaskMap]:
    """Make the comparison and the map of a group; every task has k experts of each sigma.

    Args:
        names: Of the tasks.
        n: Candidates of each sigma.
        n_questions: Selection questions of each task.
        shared: See `made_up_scores`.
        k: Experts of each task and sigma, those with the highest scores.
        flat: The task that no candidate has a right answer to.
    """
    maps, rows = [], []
    base = made_up_scores(1, n_questions, len(names), 99)
    for place, sigma in enumerate(SIGMAS):
        tables = made_up_scores(n, n_questions, len(names), place, shared)
        tasks = []
        for name, drawn in zip(names, tables, strict=True):
            table = 0 * drawn if name == flat else drawn
            best = np.argsort(-table.sum(axis=1), kind="stable")[:k]
            tasks.append(TaskScores(name, table, np.isin(np.arange(n), best)))
        ids = [f"{seed:016x}@{sigma!r}" for seed in range(n)]
        maps.append(sigma_map(sigma, ids, tasks, [own[0] for own in base]))
        rows.append(discordance(sigma, tasks))
    rng = np.random.default_rng(5)
    transfers = [
        Transfer(
            experts_of=one,
            on=other,
            difference=paired_difference(rng.random(n_questions).tolist(), (rng.random(n_questions) * 0.8).tolist()),
        )
        for one in names
        for other in names
    ]
    found = TaskMap(
        tasks=tuple(
            MappedTask(task=name, n_questions=n_questions, base=float(own.mean()) / 1000)
            for name, own in zip(names, base, strict=True)
        ),
        sigmas=tuple(maps),
        transfers=tuple(transfers),
    )
    runs = [
        _compared(a_summary().model_copy(update={"run_id": f"made-up-{place}", "problem": name}))
        for place, name in enumerate(names)
    ]
    pairs = (Pair(ours=runs[0].run_id, theirs=runs[1].run_id, difference=None, sentence="None is given."),)
    comparison = Comparison(runs=tuple(runs), pairs=pairs, discordance=DiscordanceTable(sigmas=tuple(rows)), config=())
    return Group(group_id="made-up", run_ids=tuple(run.run_id for run in runs), comparison=comparison), found
