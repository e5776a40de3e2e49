"""Compares finished runs of one home: results, paired differences, discordance, configurations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from thickets.flows.config.file import flatten
from thickets.flows.results.comparison import (
    ComparedRow,
    ComparedRun,
    Comparison,
    ConfigDifference,
    DiscordanceTable,
    Pair,
)
from thickets.flows.results.rivals import RivalSummary, finished_rivals
from thickets.flows.results.rivals_text import rival_findings
from thickets.flows.results.rows import result_rows, times_base
from thickets.flows.results.shared_tasks import OpenRun, open_runs, shared_tasks
from thickets.flows.results.stored import stored_values
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.errors import RunError
from thickets.storage.home import Home
from thickets.tasks.evaluation.discordance import discordance
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.results.verdicts import verdict
from thickets.tasks.statistics import accuracy_of, paired_difference, shares
from thickets.tasks.types import FULL

# Fields of a problem that change the wording of its questions; runs that differ only in them have the same questions.
_WORDING = ("instruction", "system", "examples")


def compare(home: Home, names: Sequence[str]) -> Comparison:
    """Compare two or more finished runs of a home.

    Args:
        home: The home of the runs.
        names: Run ids, unique prefixes of them, or ``latest``.

    Raises:
        InputError: A name fits no run or several, or a run is named twice or is not finished.
        RunError: The stored answers of a run do not give its stored result.
    """
    with open_runs(home, names) as runs:
        return Comparison(
            runs=tuple(_compared(run.summary, finished_rivals(run.folder)) for run in runs),
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


def _compared(summary: RunSummary, rivals: Sequence[RivalSummary] = ()) -> ComparedRun:
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
        rows=(*_rows(summary), *_rival_rows(rivals)),
        gain=found.ensemble_minus_base,
        n_tokens=sum(summary.n_tokens.values()),
        rivals=tuple(sentence for each in rivals for sentence in rival_findings(each)[:2]),
    )


def _rows(summary: RunSummary) -> Iterator[ComparedRow]:
    """Yield the rows of a result under names that are the same in every run; labels contain K and temperature."""
    for row in result_rows(summary.evaluation, summary.full_cost):
        yield ComparedRow(
            name=row.name,
            label=row.label,
            accuracy=row.accuracy,
            over_base=row.over_base,
            n_tokens=row.n_tokens,
            cost=row.cost,
            times_base=row.times_base,
        )


def _rival_rows(found: Sequence[RivalSummary]) -> Iterator[ComparedRow]:
    """Yield a row per rival; those with the same settings have the same name in every run."""
    labels = [each.rival.label for each in found]
    for each in found:
        rival = each.rival
        is_single = labels.count(rival.label) == 1
        yield ComparedRow(
            name=rival.label if is_single else each.rival_id,
            label=rival.label if is_single else f"{rival.label} ({each.rival_id})",
            accuracy=rival.test,
            over_base=rival.minus_base,
            n_tokens=rival.n_tokens,
            cost=rival.cost,
            times_base=times_base(rival.cost, each.cost),
        )


def _pair(ours: OpenRun, theirs: OpenRun) -> Pair:
    if why := _not_paired(ours, theirs):
        sentence = f"The ensembles of {ours.id} and {theirs.id}: {why}, so no difference is paired, and none is given."
        return Pair(ours=ours.id, theirs=theirs.id, difference=None, sentence=sentence, reason=why)
    difference = paired_difference(_ensemble_scores(ours), _ensemble_scores(theirs))
    said = verdict(difference, f"the ensemble of {ours.id}", f"that of {theirs.id}").sentence
    p = difference.p_value or 0.0
    mcnemar = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return Pair(ours=ours.id, theirs=theirs.id, difference=difference, sentence=f"{said} McNemar's test: {mcnemar}.")


def _not_paired(ours: OpenRun, theirs: OpenRun) -> str | None:
    """Return why two runs' answers cannot be compared question by question, or None if they can."""
    one, other = (
        {key: value for key, value in run.manifest.problem.items() if key not in _WORDING} for run in (ours, theirs)
    )
    if one != other:
        return "they answered other problems"
    if not ours.scores.questions("test").equals(theirs.scores.questions("test")):
        return "they answered other test questions"
    return None


def _ensemble_scores(run: OpenRun) -> list[float]:
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


def _discordance(runs: Sequence[OpenRun]) -> DiscordanceTable:
    tasks = shared_tasks(runs)
    if isinstance(tasks, str):
        return DiscordanceTable(reason=tasks)
    return DiscordanceTable(sigmas=tuple(discordance(sigma, scores) for sigma, _, scores in tasks.by_sigma()))
