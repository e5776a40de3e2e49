"""One Prefect flow for a search around each of several models: the same problem and the same seeds, then the figure."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prefect import flow

from thickets.flows.config.run import RunConfig
from thickets.flows.publish.group import GroupLog, log_group
from thickets.flows.randopt import randopt
from thickets.flows.regimes.describe import describe_regimes
from thickets.flows.regimes.floor import floor_model
from thickets.flows.regimes.members import Member, check_members, smallest, with_floor
from thickets.flows.report.group import write_group_files
from thickets.flows.report.regimes import collect_regimes
from thickets.flows.results.groups import GroupFolder, group_of
from thickets.flows.results.regimes_text import regimes_markdown
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.prefect_server import show_markdown
from thickets.flows.runtime.repair import end_mlflow_runs
from thickets.flows.runtime.session import session
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home
from thickets.tasks.results.regimes import Regimes
from thickets.tasks.task import task


@flow(
    name="randopt-regimes",
    flow_run_name="{config.name}-n{config.population.size}-regimes",
    persist_result=False,
    on_crashed=[end_mlflow_runs],
)
def randopt_regimes(config: RunConfig, models: list[str], floor: bool = True, fresh: bool = False) -> Regimes:
    """Search the neighbourhoods of several models for experts of one problem, and hold them against the models' size.

    Each model is a child flow and a run of its own, with the id, scores and folder that the configuration with
    `model: X` would have: what was scored before is not scored again, an interrupted group goes on with the same call,
    and one with a further model scores only that.

    Args:
        config: The configuration, of one problem.
        models: Two models or more, each as `model` would name it; the configuration's own counts only if it is here.
        floor: Also search around the smallest model's architecture with random weights.
        fresh: Start every model over; see `thickets.flows.randopt.randopt`.

    Returns:
        What was found around each, also kept as ``groups/<group id>/regimes.json`` in the home.

    Raises:
        InputError: Something in the configuration or a model cannot be used; found before anything is scored.
        RunError: A run is already in progress, or could not be completed.
    """
    started = time.monotonic()
    members = check_members(config, models)
    home = Home(config.storage.home)
    with session(config.storage.home):
        if floor:
            trusted = config.engine.trust_remote_code
            members = with_floor(config, members, floor_model(home, smallest(members).base, trust_remote_code=trusted))
        summaries = [_search(member, fresh=fresh) for member in members]
        found = keep_regimes(config, members, summaries)
        files = report_regimes(config, found)
        log_group("the models", config, _logged(config, found, files, time.monotonic() - started), summaries)
        show_markdown(regimes_markdown(found), "regimes", "The models' neighbourhoods side by side")
    return found


def _search(member: Member, *, fresh: bool) -> RunSummary:
    log.info(f"around {member.name}, {member.base.n_parameters:,} parameters{' (floor)' if member.is_floor else ''}")
    called = member.name.replace("{", "{{").replace("}", "}}")  # the name of a flow run is a template
    child = randopt.with_options(flow_run_name=f"{{config.name}}-n{{config.population.size}}-{called}")
    return child(member.config, fresh=fresh)


@task("describe-models", retries=2, retry_delays_s=[2])
def keep_regimes(config: RunConfig, members: Sequence[Member], summaries: Sequence[RunSummary]) -> Regimes:
    """Put the models together and keep them."""
    folder = _folder(config, [summary.run_id for summary in summaries])
    found = describe_regimes(folder.group_id, members, summaries)
    write_text_atomically(folder.regimes, found.model_dump_json(indent=2) + "\n")
    log.info(f"{len(summaries)} models in {folder.regimes}")
    return found


@task("report-models", retries=2, retry_delays_s=[2])
def report_regimes(config: RunConfig, found: Regimes) -> list[str]:
    """Write the page and the figures; return their paths below the group's folder."""
    report = collect_regimes(found)
    return write_group_files(_folder_of(config, found), report, report.plots)


def _logged(config: RunConfig, found: Regimes, files: list[str], wall_s: float) -> GroupLog:
    """Return what MLflow gets: the models, the page and its figures, and a few metrics of each model."""
    folder = _folder_of(config, found)
    metrics = {"wall_s": wall_s, "tokens": float(sum(each.n_tokens for each in found.models))}
    for each in found.models:
        name = "floor" if each.is_floor else f"model.{each.name}".replace(":", "-")
        metrics |= {
            f"{name}.parameters": float(each.n_parameters),
            f"{name}.density": each.density(found.margin_points).value,
            f"{name}.base": each.base.value,
            f"{name}.best_single": each.best_single.value,
            f"{name}.vote": each.vote.value,
        }
    return GroupLog(
        group_id=found.group_id,
        note=regimes_markdown(found),
        root=folder.root,
        files=(folder.regimes.name, *files),
        metrics=metrics,
        models=tuple(each.model for each in found.models),
    )


def _folder(config: RunConfig, run_ids: Sequence[str]) -> GroupFolder:
    return group_of(Home(config.storage.home), config.name, ["regimes", *run_ids])


def _folder_of(config: RunConfig, found: Regimes) -> GroupFolder:
    return GroupFolder(Home(config.storage.home).root / "groups" / found.group_id)
