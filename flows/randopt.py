"""The search as a Prefect flow: seeds, scoring, aggregation, selection, choice of K, the vote on the test split.

Start it from Python with ``randopt(RunConfig(...))``, with or without a running Prefect server, or from the command
line with ``thickets run``. Running the same configuration again goes on where it stopped (docs/design.md#shards).
"""

from __future__ import annotations

from prefect import flow

from thickets.flows.config.run import RunConfig
from thickets.flows.results.runs import find_run
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.repair import end_mlflow_runs
from thickets.flows.runtime.session import session
from thickets.flows.search.search import search
from thickets.storage.errors import InputError
from thickets.storage.home import Home


@flow(
    name="randopt",
    flow_run_name="{config.label}-n{config.population.size}",
    persist_result=False,
    on_crashed=[end_mlflow_runs],
)
def randopt(config: RunConfig, fresh: bool = False, rescored_from: str | None = None) -> RunSummary:
    """Search the neighbourhood of a model for experts of a task and report how well they vote.

    Args:
        config: The run; one with several `problems` is for `thickets.flows.randopt_many.randopt_many`, and one with
            `rounds` for `thickets.flows.rounds.flow.randopt_rounds`.
        fresh: Start over: what an earlier run with the same identity left is moved aside first; an error if
            other runs of the home have the same answers, which they would lose.
        rescored_from: Id of the run whose answers are judged again (`thickets rescore`); empty for a search.

    Returns:
        The summary, also kept as summary.json in the run's folder.

    Raises:
        InputError: Something in the configuration cannot be used.
        RunError: The run is already in progress, or could not be completed.
    """
    if config.rounds is not None:
        raise InputError("rounds: these are for `thickets.search` and `thickets run`, which start a search for each")
    with session(config.storage.home):
        summary = search(config, fresh=fresh, rescored_from=rescored_from)
        # As the run was in the end: its batches may have had to become smaller.
        home = Home(config.storage.home)
        if config.distillation is not None:
            from thickets.flows.distillation.flow import distill
            from thickets.flows.distillation.plan import distill_config

            distill(distill_config(home, find_run(home, summary.run_id), []))
        for method in config.rivals.methods if config.rivals else ():
            from thickets.flows.rivals.flow import rival
            from thickets.flows.rivals.plan import rival_config

            rival(rival_config(home, find_run(home, summary.run_id), method, []), method)
    return summary
