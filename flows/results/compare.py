"""Compares finished runs of one home: results, paired differences, discordance, configurations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from thickets.flows.config.file import flatten
from thickets.flows.results.comparison import (
    ComparedRow,
    ComparedRun,
    Comparison,
    ConfigDifference,
    DiscordanceTable,
    Pair,
)
from thickets.flows.results.rows import result_rows
from thickets.flows.results.runs import find_run, load_summary, open_scores
from thickets.flows.results.stored import stored_values
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.errors import InputError, RunError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import EnsembleManifest
from thickets.storage.scores.reader import ScoreReader
from thickets.tasks.evaluation.discordance import TaskScores, discordance
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.results.discordance import SigmaDiscordance
from thickets.tasks.results.evaluation import Evaluation
from thickets.tasks.results.verdicts import verdict
from thickets.tasks.statistics import accuracy_of, paired_difference, shares
from thickets.tasks.types import FULL, Candidate

# Fields of a problem that change the wording of its questions; runs that differ only in them have the same questions.
_WORDING = ("instruction", "system", "examples")


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A finished run, open for reading."""

    folder: RunFolder
    summary: RunSummary
    manifest: EnsembleManifest
    scores: ScoreReader

    @property
    def id(self) -> str:
        return self.summary.run_id


def compare(home: Home, names: Sequence[str]) -> Comparison:
    """Compare two or more finished runs of a home.

    Args:
        home: The home of the runs.
        names: Run ids, unique prefixes of them, or ``latest``.

    Raises:
        InputError: A name fits no run or several, or a run is named twice or is not finished.
        RunError: The stored answers of a run do not give its stored result.
    """
    folders = [find_run(home, name) for name in names]
    ids = [folder.run_id for folder in folders]
    if repeated := next((run for run in ids if ids.count(run) > 1), None):
        raise InputError(f"RUN: {repeated} is named {ids.count(repeated)} times; name each run once")
    if len(ids) < 2:
        raise InputError(f"RUN: found {len(ids)}; a comparison takes two runs or more")
    summaries = [load_summary(folder) for folder in folders]
    with ExitStack() as opened:
        runs = [
            _Run(
                folder,
                summary,
                EnsembleManifest.load(folder.manifest),
                opened.enter_context(open_scores(home, folder)),
            )
            for folder, summary in zip(folders, summaries, strict=True)
        ]
        return Comparison(
            runs=tuple(_compared(run.summary) for run in runs),
            pairs=tuple(_pair(ours, theirs) for ours, theirs in combinations(runs, 2)),
            discordance=_discordance(runs),
            config=tuple(config_differences([stored_values(run.folder) for run in runs])),
        )


def config_differences(configs: Sequence[dict[str, Any]]) -> Iterator[ConfigDifference]:
    """Yield the fields, by dotted name, that are not the same in all configurations.

    Configurations are plain values, not `RunConfig`: a run of another version, with fields that this version does not
    know, can be compared.
    """
    flat = [flatten(config) for config in configs]
    for field in dict.fromkeys(name for config in flat for name in config):
        # A section that is empty in one configuration shows in the fields that it has in another.
        values = tuple(None if (value := config.get(field)) == {} else value for config in flat)
        if any(value != values[0] for value in values):
            yield ConfigDifference(field=field, values=values)


def _compared(summary: RunSummary) -> ComparedRun:
    found = summary.evaluation
    return ComparedRun(
        run_id=summary.run_id,
        model=summary.model,
        model_sha256=summary.model_sha256,
        problem=summary.problem,
        n_candidates=summary.n_candidates,
        sigmas=tuple(row.sigma for row in summary.sigmas),
        k=found.k,
        rule=found.vote,
        rows=tuple(_rows(found)),
        gain=found.ensemble_minus_base,
        n_tokens=sum(summary.n_tokens.values()),
    )


def _rows(found: Evaluation) -> Iterator[ComparedRow]:
    """Yield the rows of a result under names that are the same in every run; labels contain K and temperature."""
    names = {control.label: control.name for control in found.controls} | {
        "base": "base",
        "best single expert": "best_single",
    }
    for row in result_rows(found):
        yield ComparedRow(
            name="ensemble" if row.is_ensemble else names.get(row.label, row.label),
            label=row.label,
            accuracy=row.accuracy,
            over_base=row.over_base,
            n_tokens=row.n_tokens,
        )


def _pair(ours: _Run, theirs: _Run) -> Pair:
    if why := _not_paired(ours, theirs):
        sentence = f"The ensembles of {ours.id} and {theirs.id}: {why}, so no difference is paired, and none is given."
        return Pair(ours=ours.id, theirs=theirs.id, difference=None, sentence=sentence)
    difference = paired_difference(_ensemble_scores(ours), _ensemble_scores(theirs))
    said = verdict(difference, f"the ensemble of {ours.id}", f"that of {theirs.id}").sentence
    p = difference.p_value or 0.0
    mcnemar = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return Pair(ours=ours.id, theirs=theirs.id, difference=difference, sentence=f"{said} McNemar's test: {mcnemar}.")


def _not_paired(ours: _Run, theirs: _Run) -> str | None:
    """Return why two runs' answers cannot be compared question by question, or None if they can."""
    one, other = (
        {key: value for key, value in run.manifest.problem.items() if key not in _WORDING} for run in (ours, theirs)
    )
    if one != other:
        return "they answered other problems"
    if not ours.scores.questions("test").equals(theirs.scores.questions("test")):
        return "they answered other test questions"
    return None


def _ensemble_scores(run: _Run) -> list[float]:
    """Return for each test question the score of the vote, 0 to 1, computed from the stored answers."""
    experts = experts_of(run.summary)
    found = run.summary.evaluation
    voted = vote(ballots(run.scores, "test", experts), found.k, found.rule, Consensus(found.metric))
    again, said = accuracy_of(voted), found.ensemble
    if (again.n_correct, again.total) != (said.n_correct, said.total):
        points = f" and {again.total / FULL:g} points" if again.is_graded or said.is_graded else ""
        instead = f" and {said.total / FULL:g}" if points else ""
        raise RunError(
            f"the stored answers of {run.id} give {again.n_correct} correct votes{points} where its summary says "
            f"{said.n_correct}{instead}; run its config again: {run.folder.config}"
        )
    return shares(voted)


def _discordance(runs: Sequence[_Run]) -> DiscordanceTable:
    if len({run.manifest.base.sha256 for run in runs}) > 1:
        return DiscordanceTable(reason="the runs search around different base models")
    noise = runs[0].manifest.noise
    if any(run.manifest.noise != noise for run in runs):
        return DiscordanceTable(reason="the runs make different noise of the same seeds")
    tasks: list[_Run] = []
    for run in sorted(runs, key=lambda run: -run.summary.n_candidates):
        # Of runs with the same problem and the same questions, the one with most candidates is used.
        if not any(_same_task(run, known) for known in tasks):
            tasks.append(run)
    tasks = [run for run in runs if run in tasks]
    if len(tasks) < 2:
        return DiscordanceTable(reason="all runs have the same problem")
    problems = [run.summary.problem for run in tasks]
    labels = [name if problems.count(name) == 1 else run.id for name, run in zip(problems, tasks, strict=True)]
    outcomes = [run.scores.candidate_outcomes("selection") for run in tasks]
    return DiscordanceTable(sigmas=tuple(_by_sigma(tasks, labels, outcomes)))


def _same_task(one: _Run, other: _Run) -> bool:
    return one.manifest.problem == other.manifest.problem and one.scores.questions("selection").equals(
        other.scores.questions("selection")
    )


def _by_sigma(
    tasks: Sequence[_Run], labels: Sequence[str], outcomes: Sequence[pl.DataFrame]
) -> Iterator[SigmaDiscordance]:
    """Yield the discordance per sigma over the candidates of all runs; see `ScoreQueries.candidate_outcomes`."""
    shared = outcomes[0].select("candidate_id", "sigma")
    for other in outcomes[1:]:
        shared = shared.join(other, on="candidate_id", how="semi", maintain_order="left")
    for sigma in sorted({value for frame in outcomes for value in frame["sigma"]}):
        of_sigma = shared.filter(pl.col("sigma") == sigma).select("candidate_id")
        scores = [_task_scores(*each, of_sigma) for each in zip(tasks, labels, outcomes, strict=True)]
        yield discordance(sigma, scores)


def _task_scores(run: _Run, label: str, outcomes: pl.DataFrame, candidates: pl.DataFrame) -> TaskScores:
    rows = candidates.join(outcomes, on="candidate_id", maintain_order="left")["score"].to_list()
    # With racing, the questions that every candidate of the run was asked: fewer than the split holds.
    n_questions = len(rows[0]) if rows else run.summary.split_sizes["selection"]
    shape = candidates.height, n_questions
    experts = [Candidate(int(expert.seed), expert.sigma).id for expert in run.summary.experts]
    return TaskScores(
        label, np.array(rows, dtype=np.int64).reshape(shape), candidates["candidate_id"].is_in(experts).to_numpy()
    )
