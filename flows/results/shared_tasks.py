"""Finished runs that are read side by side, and the scores of the candidates that their tasks share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import polars as pl

from thickets.flows.results.runs import find_run, load_summary, open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import EnsembleManifest
from thickets.storage.scores.reader import ScoreReader
from thickets.tasks.evaluation.discordance import TaskScores
from thickets.tasks.types import Candidate


@dataclass(frozen=True, slots=True, eq=False)
class OpenRun:
    """A finished run, open for reading."""

    folder: RunFolder
    summary: RunSummary
    manifest: EnsembleManifest
    scores: ScoreReader

    @property
    def id(self) -> str:
        """The run's id."""
        return self.summary.run_id

    @property
    def expert_ids(self) -> list[str]:
        """The candidates that vote, by rank."""
        return [Candidate(int(expert.seed), expert.sigma).id for expert in self.summary.experts]


@dataclass(frozen=True, slots=True, eq=False)
class SharedTasks:
    """The tasks of some runs around the same base, and what each candidate made of every selection question.

    Attributes:
        runs: One per task, in the order in which they were named.
        labels: Of the tasks: what the problem is called, or the run's id where two are called the same.
        outcomes: Of each task; see `ScoreQueries.candidate_outcomes`.
    """

    runs: tuple[OpenRun, ...]
    labels: tuple[str, ...]
    outcomes: tuple[pl.DataFrame, ...]

    def by_sigma(self) -> Iterator[tuple[float, list[str], list[TaskScores]]]:
        """Yield per sigma the candidates that every task has scored, and their scores on each task."""
        shared = self.outcomes[0].select("candidate_id", "sigma")
        for other in self.outcomes[1:]:
            shared = shared.join(other, on="candidate_id", how="semi", maintain_order="left")
        for sigma in sorted({value for frame in self.outcomes for value in frame["sigma"]}):
            of_sigma = shared.filter(pl.col("sigma") == sigma).select("candidate_id")
            parts = zip(self.runs, self.labels, self.outcomes, strict=True)
            yield sigma, of_sigma["candidate_id"].to_list(), [_task_scores(*each, of_sigma) for each in parts]


@contextmanager
def open_runs(home: Home, names: Sequence[str]) -> Iterator[list[OpenRun]]:
    """Open two or more finished runs of a home.

    Raises:
        InputError: A name fits no run or several, or a run is named twice or is not finished.
    """
    folders = [find_run(home, name) for name in names]
    ids = [folder.run_id for folder in folders]
    if repeated := next((run for run in ids if ids.count(run) > 1), None):
        raise InputError(f"RUN: {repeated} is named {ids.count(repeated)} times; name each run once")
    if len(ids) < 2:
        raise InputError(f"RUN: found {len(ids)}; a comparison takes two runs or more")
    summaries = [load_summary(folder) for folder in folders]
    with ExitStack() as opened:
        yield [
            OpenRun(
                folder,
                summary,
                EnsembleManifest.load(folder.manifest),
                opened.enter_context(open_scores(home, folder)),
            )
            for folder, summary in zip(folders, summaries, strict=True)
        ]


def shared_tasks(runs: Sequence[OpenRun]) -> SharedTasks | str:
    """Return the tasks of the runs, or the reason why their candidates cannot be compared.

    Of runs with the same problem and the same questions, the one with most candidates is used.
    """
    if len({run.manifest.base.sha256 for run in runs}) > 1:
        return "the runs search around different base models"
    noise = runs[0].manifest.noise
    if any(run.manifest.noise != noise for run in runs):
        return "the runs make different noise of the same seeds"
    tasks: list[OpenRun] = []
    for run in sorted(runs, key=lambda run: -run.summary.n_candidates):
        if not any(_same_task(run, known) for known in tasks):
            tasks.append(run)
    tasks = [run for run in runs if run in tasks]
    if len(tasks) < 2:
        return "all runs have the same problem"
    problems = [run.summary.problem for run in tasks]
    labels = (name if problems.count(name) == 1 else run.id for name, run in zip(problems, tasks, strict=True))
    outcomes = (run.scores.candidate_outcomes("selection") for run in tasks)
    return SharedTasks(tuple(tasks), tuple(labels), tuple(outcomes))


def _same_task(one: OpenRun, other: OpenRun) -> bool:
    return one.manifest.problem == other.manifest.problem and one.scores.questions("selection").equals(
        other.scores.questions("selection")
    )


def _task_scores(run: OpenRun, label: str, outcomes: pl.DataFrame, candidates: pl.DataFrame) -> TaskScores:
    rows = candidates.join(outcomes, on="candidate_id", maintain_order="left")["score"].to_list()
    # With racing, the questions that every candidate of the run was asked: fewer than the split holds.
    n_questions = len(rows[0]) if rows else run.summary.split_sizes["selection"]
    shape = candidates.height, n_questions
    is_expert = candidates["candidate_id"].is_in(run.expert_ids).to_numpy()
    return TaskScores(label, np.array(rows, dtype=np.int64).reshape(shape), is_expert)
