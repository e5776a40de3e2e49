"""One Prefect flow for several rounds, each a child flow and a run of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prefect import flow

from thickets.flows.config.preflight import check_inputs
from thickets.flows.config.rounds import RoundsConfig
from thickets.flows.config.run import RunConfig
from thickets.flows.publish.group import GroupLog, log_group
from thickets.flows.randopt import randopt
from thickets.flows.report.group import write_group_files
from thickets.flows.report.rounds import collect_rounds
from thickets.flows.results.groups import GroupFolder, group_of
from thickets.flows.results.rounds import Rounds
from thickets.flows.results.rounds_text import rounds_markdown
from thickets.flows.rounds.budget import why_no_more
from thickets.flows.rounds.outcome import Outcome, last_kept, last_minus_ensemble, last_minus_first, outcome_of
from thickets.flows.rounds.steps import round_config
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.prefect_server import show_markdown
from thickets.flows.runtime.repair import end_mlflow_runs
from thickets.flows.runtime.session import session
from thickets.storage.errors import InputError
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home
from thickets.storage.tracking.writer import MetricPoint
from thickets.tasks.results.merging import PASSED
from thickets.tasks.task import task


@flow(
    name="randopt-rounds",
    flow_run_name="{config.label}-n{config.population.size}",
    persist_result=False,
    on_crashed=[end_mlflow_runs],
)
def randopt_rounds(config: RunConfig, fresh: bool = False) -> Rounds:
    """Search around a model, make one model (a merge or a student), search around that, until none beats its base.

    Each round is a run of its own, with the id that it would have as a search around that checkpoint: what was scored
    before is not scored again, an interrupted call goes on with the same call, and one with more rounds adds these.

    Args:
        config: The configuration, with `rounds` and what its rounds make their models by: `merge` or `distillation`.
        fresh: Start every round over; see `thickets.flows.randopt.randopt`.

    Returns:
        The rounds, also kept as ``groups/<group id>/rounds.json`` in the home.

    Raises:
        InputError: Something in the configuration cannot be used; found before anything is scored.
        RunError: A run is already in progress, or could not be completed.
    """
    if config.rounds is None:
        raise InputError("rounds: missing; say how many, or use `thickets.search`, which takes a single one as well")
    check_inputs(config)
    started = time.monotonic()
    with session(config.storage.home):
        outcomes, ended = _all_rounds(config, config.rounds, fresh=fresh)
        found = keep_rounds(config, outcomes, ended)
        files = report_rounds(config, found)
        logged = _logged(config, found, files, time.monotonic() - started)
        log_group("the rounds", config, logged, [each.summary for each in outcomes])
        show_markdown(logged.note, "rounds", "The rounds one after the other")
    return found


def _all_rounds(config: RunConfig, rounds: RoundsConfig, *, fresh: bool) -> tuple[list[Outcome], str]:
    """Make the rounds; return what came of each, and why there is no further one."""
    home, outcomes = Home(config.storage.home), list[Outcome]()
    child = randopt.with_options(flow_run_name="{config.label}-n{config.population.size}-round")
    for number in range(1, rounds.most + 1):
        began = time.monotonic()
        model = outcomes[-1].model(home) if outcomes else None
        log.info(f"round {number} of at most {rounds.most}, around {model or config.model}")
        own = round_config(config, number, model, _earlier(rounds, outcomes))
        summary = child(own, fresh=fresh)
        outcomes.append(outcome_of(home, own, number, summary, time.monotonic() - began))
        if not outcomes[-1].is_kept:
            made = "no merge" if rounds.by == "merge" else "no student"
            gate = config.merge.gate if rounds.by == "merge" and config.merge else "interval"
            return outcomes, f"in round {number} {made} was {PASSED[gate]} on the validation split"
        if number < rounds.most and (reason := why_no_more(rounds.budget, [each.found for each in outcomes])):
            return outcomes, reason
    return outcomes, f"all {rounds.most} rounds were made" if rounds.most > 1 else "the one round was made"


def _earlier(rounds: RoundsConfig, outcomes: Sequence[Outcome]) -> list[str]:
    """Return the distillations whose rows a student takes as well; none where it is trained from its round's model."""
    if rounds.student_from == "round":
        return []
    return [each.distillation for each in outcomes if each.distillation is not None]


@task("compare-rounds", retries=2, retry_delays_s=[2])
def keep_rounds(config: RunConfig, outcomes: list[Outcome], ended: str) -> Rounds:
    """Put the rounds together and keep them; worth a retry because a reader may hold a run for seconds."""
    assert config.rounds is not None
    home, last = Home(config.storage.home), last_kept(outcomes)
    folder = _folder(config, [each.found.run_id for each in outcomes])
    found = Rounds(
        group_id=folder.group_id,
        by=config.rounds.by,
        rounds=tuple(each.found for each in outcomes),
        last_minus_first=last_minus_first(home, outcomes[0].summary, last) if last else None,
        last_minus_ensemble=last_minus_ensemble(home, last) if last else None,
        ended=ended,
    )
    write_text_atomically(folder.rounds, found.model_dump_json(indent=2) + "\n")
    log.info(f"{len(outcomes)} rounds in {folder.rounds}")
    return found


@task("report-rounds", retries=2, retry_delays_s=[2])
def report_rounds(config: RunConfig, found: Rounds) -> list[str]:
    """Write the report and the figure; return their paths below the group's folder."""
    folder = _folder(config, [each.run_id for each in found.rounds])
    report = collect_rounds(found)
    return write_group_files(folder, report, [report.plot])


def _logged(config: RunConfig, found: Rounds, files: list[str], wall_s: float) -> GroupLog:
    """Return what MLflow gets: the rounds, the report and its figure."""
    folder = _folder(config, [each.run_id for each in found.rounds])
    return GroupLog(
        group_id=found.group_id,
        note=rounds_markdown(found),
        root=folder.root,
        files=(folder.rounds.name, *files),
        metrics=_metrics(found, wall_s),
    )


def _folder(config: RunConfig, run_ids: list[str]) -> GroupFolder:
    return group_of(Home(config.storage.home), config.name, ["rounds", *run_ids])


def _metrics(found: Rounds, wall_s: float) -> list[MetricPoint]:
    """Return what MLflow draws as curves over the rounds, and the sums."""
    metrics = [MetricPoint("wall_s", wall_s), MetricPoint("tokens", float(found.tokens_so_far[-1]))]
    for each, tokens in zip(found.rounds, found.tokens_so_far, strict=True):
        values = {"base": each.base.value, "ensemble": each.ensemble.value, "tokens_so_far": float(tokens)}
        if (made := each.made(found.by)) is not None:
            values[found.noun] = made.value
        if (cost := found.cost_to_get(each.number)) is not None:
            values |= {"get_tokens": float(cost.n_tokens), "get_flops": cost.flops, "get_s": cost.engine_s}
        metrics += [MetricPoint(f"round.{name}", value, each.number) for name, value in values.items()]
    return metrics
