"""A rival as a Prefect flow: one model made by another method on the search's questions and budget, and a verdict.

After the search where the configuration has a `rivals` section; on a finished run, `thickets rival`. Every part is kept
as it is finished, so the same call goes on where it was interrupted.
"""

from __future__ import annotations

import time
from contextlib import nullcontext

from prefect import flow

from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.engines import open_cluster
from thickets.flows.report import report_again
from thickets.flows.results.rivals import RivalSummary
from thickets.flows.results.test_answers import read_test_answers
from thickets.flows.rivals.methods import Method
from thickets.flows.rivals.plan import plan_rival
from thickets.flows.rivals.tracking import log_rival, rival_links, start_rival_tracking, watch_rival
from thickets.flows.rivals.verdict import judge_rival, summarise_rival
from thickets.flows.runtime.clock import session_began
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.repair import end_mlflow_runs
from thickets.flows.runtime.session import session
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home
from thickets.tasks.engines import resolve_spec
from thickets.tasks.preparation import prepare_base_model, prepare_splits
from thickets.tasks.problems import load_problem
from thickets.tasks.results.rival_method import RivalMethod
from thickets.tasks.scoring.executors.ray_cluster import RayCluster


@flow(
    name="rival",
    flow_run_name="{method}-{config.label}",
    persist_result=False,
    on_crashed=[end_mlflow_runs],
)
def rival(config: RunConfig, method: RivalMethod) -> RivalSummary:
    """Make one model by another method, on the questions and the budget of a finished run, and compare it.

    Args:
        config: The run's, with a section of the method in `rivals`.
        method: Which one.

    Returns:
        The summary, also kept as summary.json in the rival's folder.

    Raises:
        InputError: The run is not finished, or something in the configuration cannot be used.
        RunError: The run is in use, or the rival could not be completed.
    """
    with session(config.storage.home), open_cluster(config.engine) as cluster:
        return _rival(config, method, cluster)


def _rival(config: RunConfig, method: RivalMethod, cluster: RayCluster | None) -> RivalSummary:
    began = session_began()
    home = Home(config.storage.home).writable()
    base = prepare_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    problem = load_problem(config.single_problem)
    data = config.data
    splits = prepare_splits(problem, data.draw)
    plan = plan_rival(config, method, base, problem, splits, cluster.resolve if cluster else resolve_spec)
    folder = plan.folder
    with home.run_lock(plan.run.run_id) as run_folder:
        if folder.summary.is_file():
            log.info(f"rival {plan.id} of {plan.run.run_id} is finished; nothing left to do")
            if folder.unlogged.exists():
                log_rival(plan, None, folder.load())
            return folder.load()
        folder.root.mkdir(parents=True, exist_ok=True)
        write_text_atomically(folder.config, dump_config(config))
        log.info(f"rival {plan.id} of {plan.run.run_id} in {folder.root}: {plan.budget.sentence}")
        tracker = start_rival_tracking(plan)
        with tracker or nullcontext():
            on_test = read_test_answers(home, plan.found)
            made = _method_of(method)(plan, on_test.base_validation, cluster, watch_rival(tracker, plan))
            found = judge_rival(plan, made, on_test, cluster)
            where = rival_links(plan, tracker)
            summary = summarise_rival(plan, found, where, time.monotonic() - began)
            # Before the summary says that nothing is left to do; and that before it is logged: a tracking server that
            # fails now must not cost the result.
            write_text_atomically(folder.unlogged, f"{where.mlflow_uri}\n")
            write_text_atomically(folder.summary, summary.model_dump_json(indent=2))
            report_again(home, run_folder)  # with the rival in it
            log_rival(plan, tracker, summary)
    return folder.load()


def _method_of(name: RivalMethod) -> Method:
    """Return a method; training libraries are imported only for the one that needs them."""
    if name == "es":
        from thickets.flows.rivals.evolution import evolve

        return evolve
    from thickets.flows.rivals.grpo import train_by_grpo

    return train_by_grpo
