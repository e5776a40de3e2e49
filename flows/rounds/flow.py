"""One Prefect flow for several rounds, each a child flow and a run of its own."""

from __future__ import annotations

import time

from prefect import flow

from thickets.flows.config.preflight import check_inputs
from thickets.flows.config.run import RunConfig
from thickets.flows.publish.group import GroupLog, log_group
from thickets.flows.randopt import randopt
from thickets.flows.results.groups import GroupFolder, group_of
from thickets.flows.results.rounds import Rounds
from thickets.flows.results.rounds_text import rounds_markdown
from thickets.flows.results.summary import RunSummary
from thickets.flows.rounds.steps import describe_round, last_minus_first, merged_model, round_config
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.prefect_server import show_markdown
from thickets.flows.runtime.repair import end_mlflow_runs
from thickets.flows.runtime.session import session
from thickets.storage.errors import InputError
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home
from thickets.tasks.task import task


@flow(
    name="randopt-rounds",
    flow_run_name="{config.label}-n{config.population.size}",
    persist_result=False,
    on_crashed=[end_mlflow_runs],
)
def randopt_rounds(config: RunConfig, fresh: bool = False) -> Rounds:
    """Search around a model, make one model of the population, search around that, until no merge beats its base.

    Each round is a run of its own, with the id that it would have as a search around that checkpoint: what was scored
    before is not scored again, an interrupted call goes on with the same call, and one with more rounds adds these.

    Args:
        config: The configuration, with `rounds` and `merge`.
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
    home, started, model = Home(config.storage.home), time.monotonic(), None
    child = randopt.with_options(flow_run_name="{config.label}-n{config.population.size}-round")
    summaries: list[RunSummary] = []
    ended = f"all {config.rounds.most} rounds were made"
    with session(config.storage.home):
        for number in range(1, config.rounds.most + 1):
            log.info(f"round {number} of at most {config.rounds.most}, around {model or config.model}")
            summary = child(round_config(config, number, model), fresh=fresh)
            summaries.append(summary)
            if summary.merge is None or not summary.merge.is_accepted:
                ended = f"in round {number} no merge was clearly above its base on the validation split"
                break
            if number < config.rounds.most:
                model = merged_model(home, summary)
        found = keep_rounds(config, summaries, ended)
        log_group("the rounds", config, _logged(config, found, time.monotonic() - started), summaries)
        show_markdown(rounds_markdown(found), "rounds", "The rounds one after the other")
    return found


@task("compare-rounds", retries=2, retry_delays_s=[2])
def keep_rounds(config: RunConfig, summaries: list[RunSummary], ended: str) -> Rounds:
    """Put the rounds together and keep them; worth a retry because a reader may hold a run for seconds."""
    home = Home(config.storage.home)
    made = [summary for summary in summaries if summary.merge is not None and summary.merge.is_accepted]
    folder = _folder(home, config, [summary.run_id for summary in summaries])
    found = Rounds(
        group_id=folder.group_id,
        rounds=tuple(describe_round(number, summary) for number, summary in enumerate(summaries, 1)),
        last_minus_first=last_minus_first(home, summaries[0], made[-1]) if made else None,
        ended=ended,
    )
    write_text_atomically(folder.rounds, found.model_dump_json(indent=2) + "\n")
    log.info(f"{len(summaries)} rounds in {folder.rounds}")
    return found


def _folder(home: Home, config: RunConfig, run_ids: list[str]) -> GroupFolder:
    return group_of(home, config.name, ["rounds", *run_ids])


def _logged(config: RunConfig, found: Rounds, wall_s: float) -> GroupLog:
    """Return what MLflow gets of the rounds."""
    folder = _folder(Home(config.storage.home), config, [each.run_id for each in found.rounds])
    metrics = {"wall_s": wall_s, "tokens": float(sum(each.n_tokens for each in found.rounds))}
    metrics |= {f"round.{each.number}.base": each.base.value for each in found.rounds}
    metrics |= {f"round.{each.number}.ensemble": each.ensemble.value for each in found.rounds}
    metrics |= {f"round.{each.number}.merge": each.merge.value for each in found.rounds if each.merge}
    for each in found.rounds:
        if cost := found.cost_to_get(each.number):
            mine = f"cost.round.{each.number}.get_"
            metrics |= {f"{mine}tokens": float(cost.n_tokens), f"{mine}flops": cost.flops, f"{mine}s": cost.engine_s}
    return GroupLog(found.group_id, rounds_markdown(found), folder.root, (folder.rounds.name,), metrics)
