"""One Prefect flow for a search per problem: the same population, one problem after the other, then the comparison."""

from __future__ import annotations

import time

from prefect import flow

from thickets.flows.config.preflight import check_inputs
from thickets.flows.config.run import RunConfig
from thickets.flows.publish.group import GroupLog, log_group
from thickets.flows.randopt import randopt
from thickets.flows.report.group import collect_group, write_group_files
from thickets.flows.results.compare import compare
from thickets.flows.results.comparison import Comparison, Group
from thickets.flows.results.comparison_text import comparison_markdown
from thickets.flows.results.groups import group_of
from thickets.flows.results.summary import RunSummary
from thickets.flows.results.task_map import make_map
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.prefect_server import show_markdown
from thickets.flows.runtime.repair import end_mlflow_runs
from thickets.flows.runtime.session import session
from thickets.storage.errors import InputError
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home
from thickets.tasks.task import task


@flow(
    name="randopt-many",
    flow_run_name="{config.label}-n{config.population.size}",
    persist_result=False,
    on_crashed=[end_mlflow_runs],
)
def randopt_many(config: RunConfig, fresh: bool = False) -> Comparison:
    """Search the neighbourhood of a model for experts of several problems, and compare what was found.

    Each problem is a child flow and a run of its own, with the id, scores and folder that `problem: X` alone would
    have: units that were scored before are not scored again, and an interrupted group goes on with the same call. The
    engine is started anew for every problem (seconds, minutes for a large model), since problems differ in what an
    engine is built for: the longest prompt, where it runs, how it decodes.

    Args:
        config: The configuration, with `problems`.
        fresh: Start every problem over; see `thickets.flows.randopt.randopt`.

    Returns:
        The comparison, also kept with the run ids as ``groups/<group id>/comparison.json`` in the home.

    Raises:
        InputError: Something in the configuration cannot be used; found before anything is scored.
        RunError: A run is already in progress, or could not be completed.
    """
    if config.problems is None:
        raise InputError("problems: missing; name at least two, or use `thickets.search`, which takes one as well")
    check_inputs(config)
    started = time.monotonic()
    child = randopt.with_options(flow_run_name="{config.label}-n{config.population.size}-{config.problem.title}")
    with session(config.storage.home):
        summaries = [child(each, fresh=fresh) for each in config.per_problem]
        group = compare_group(config, summaries)
        files = report_group(config, group)
        log_group("the comparison", config, _logged(config, group, files, time.monotonic() - started), summaries)
        show_markdown(_markdown(config, group), "comparison", "The problems' runs side by side")
    return group.comparison


@task("compare-problems", retries=2, retry_delays_s=[2])
def compare_group(config: RunConfig, summaries: list[RunSummary]) -> Group:
    """Compare the finished runs and keep the result; worth a retry because a reader may hold a run for seconds."""
    home = Home(config.storage.home)
    run_ids = tuple(summary.run_id for summary in summaries)
    folder = group_of(home, config.name, run_ids)
    group = Group(group_id=folder.group_id, run_ids=run_ids, comparison=compare(home, run_ids))
    write_text_atomically(folder.comparison, group.model_dump_json(indent=2) + "\n")
    log.info(f"comparison of {len(run_ids)} problems in {folder.comparison}")
    return group


@task("report-problems", retries=2, retry_delays_s=[2])
def report_group(config: RunConfig, group: Group) -> list[str]:
    """Write the group's report and figures; return their paths below its folder."""
    home = Home(config.storage.home)
    folder = group_of(home, config.name, group.run_ids)
    report = collect_group(group, make_map(home, group.run_ids))
    return write_group_files(folder, report, report.plots)


def _logged(config: RunConfig, group: Group, files: list[str], wall_s: float) -> GroupLog:
    """Return what MLflow gets: the comparison, the report and its figures."""
    folder = group_of(Home(config.storage.home), config.name, group.run_ids)
    return GroupLog(
        group_id=group.group_id,
        note=comparison_markdown(group.comparison),
        root=folder.root,
        files=(folder.comparison.name, *files),
        metrics=_metrics(group.comparison, wall_s),
    )


def _markdown(config: RunConfig, group: Group) -> str:
    report = group_of(Home(config.storage.home), config.name, group.run_ids).report
    where = f"Report: `{report}`, also among the artifacts of the MLflow run"
    return f"{comparison_markdown(group.comparison)}\n{where}\n"


def _metrics(found: Comparison, wall_s: float) -> dict[str, float]:
    metrics = {"wall_s": wall_s, "tokens": float(sum(run.n_tokens for run in found.runs))}
    for each in found.discordance.sigmas:
        name = f"discordance.sigma_{each.sigma:g}"
        values = {"": each.value, "_low": each.low, "_high": each.high, "_floor": each.floor, "_excess": each.excess}
        metrics |= {f"{name}{suffix}": value for suffix, value in values.items() if value is not None}
    return metrics
