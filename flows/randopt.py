"""The search as a Prefect flow: seeds, scoring, aggregation, selection, choice of K, the vote on the test split.

Start it from Python with ``randopt(RunConfig(...))``, with or without a running Prefect server, or from the command
line with ``thickets run``. Running the same configuration again goes on where it stopped (DESIGN.md section 6).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

from prefect import flow

from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.hooks import end_mlflow_runs
from thickets.flows.pilot import Candidates
from thickets.flows.placement.engines import Engines, open_cluster
from thickets.flows.plan import RunPlan, make_plan, manifest
from thickets.flows.publish.artifacts import announce, emit_search_assets
from thickets.flows.publish.lineage import log_lineage
from thickets.flows.publish.tracking import links, log_results, start_tracking
from thickets.flows.report import own_plots, write_report
from thickets.flows.results.runs import find_run
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.session import session
from thickets.flows.search.answer_limit import learn
from thickets.flows.search.candidates import score_selection
from thickets.flows.search.progress import ScoringProgress, log
from thickets.flows.search.smaller_batch import BatchTooLargeError, watch_first_batch, with_smaller_batch
from thickets.flows.search.spending import budget_use, make_meter, score_what_is_paid_for, session_timed
from thickets.flows.search.stages import score_selected, score_split
from thickets.flows.search.summarise import summarise
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home, RunFolder
from thickets.storage.shards.folder import check_writable
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.engines import Engine, EngineSpec, build_engine
from thickets.tasks.evaluation.ensemble import evaluate_ensemble
from thickets.tasks.preparation import prepare_base_model, prepare_splits
from thickets.tasks.problems import load_problem
from thickets.tasks.seeds import generate_seeds


@flow(
    name="randopt",
    flow_run_name="{config.label}-n{config.population.size}",
    persist_result=False,
    on_crashed=[end_mlflow_runs],
)
def randopt(config: RunConfig, fresh: bool = False) -> RunSummary:
    """Search the neighbourhood of a model for experts of a task and report how well they vote.

    Args:
        config: The run; one with several `problems` is for `thickets.flows.randopt_many.randopt_many`.
        fresh: Start over: what an earlier run with the same identity left is moved aside first.

    Returns:
        The summary, also kept as summary.json in the run's folder.

    Raises:
        InputError: Something in the configuration cannot be used.
        RunError: The run is already in progress, or could not be completed.
    """
    with session(config.storage.home):
        summary = search(config, fresh=fresh)
        if config.distillation is not None:
            from thickets.flows.distillation.flow import distill
            from thickets.flows.distillation.plan import distill_config

            # As the run was in the end: its batches may have had to become smaller.
            home = Home(config.storage.home)
            distill(distill_config(home, find_run(home, summary.run_id), []))
    return summary


def search(
    config: RunConfig, *, fresh: bool = False, build: Callable[[EngineSpec], Engine] = build_engine
) -> RunSummary:
    """The body of the flow; a benchmark passes its own `build` to measure everything but the engine."""
    with open_cluster(config.engine) as cluster:
        while True:
            progress = ScoringProgress()
            try:
                with Engines(progress.on_unit, build, cluster) as engines:
                    return _search(config, engines, progress, fresh=fresh)
            except BatchTooLargeError as error:
                config = with_smaller_batch(config, error)


def _search(config: RunConfig, engines: Engines, progress: ScoringProgress, *, fresh: bool) -> RunSummary:
    started = time.monotonic()
    asked = config.single_problem
    home = Home(config.storage.home).writable()
    if config.storage.shards is not None:
        check_writable(config.storage.shards)
    log.info(f"preparing {config.model} and {asked.name}")
    base = prepare_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    problem = load_problem(asked)
    data = config.data
    splits = prepare_splits(problem, data.selection, data.validation, data.test, data.seed)
    even = generate_seeds(config.population.size, config.population.sigmas, config.population.seed)
    limit = learn(config, base, problem, splits, engines, progress)
    max_tokens = None if limit is None else limit.max_tokens
    plan = make_plan(config, base, problem, splits, engines.resolve, limit=max_tokens)
    shard_folder = plan.shard_folder
    with home.run_lock(plan.run_id) as folder:
        if fresh:
            for moved in [*home.set_aside(plan.run_id, plan.fingerprint), *shard_folder.set_aside()]:
                log.info(f"starting over; what was there is now in {moved}")
        write_text_atomically(folder.config, dump_config(config))
        write_text_atomically(folder.fingerprint, plan.fingerprint + "\n")
        write_text_atomically(folder.identity, json.dumps(plan.identity, indent=2) + "\n")
        _note_shards(folder, plan)
        shard_folder.clean_temporaries()  # what a killed writer left
        log.info(f"run {plan.run_id} in {folder.root}")
        # Who takes part is said as it becomes known: a pilot decides it, or a budget.
        book = ScoreBook(folder.scores, plan.shards, plan.run_id, even.clear(), plan.blocks, shard_folder.mirror)
        learning = 0 if limit is None else limit.n_extra_tokens
        meter = make_meter(plan, book, folder, progress, started, learning)
        with session_timed(folder, meter), start_tracking(plan, book) as tracker:
            with watch_first_batch(plan), engines:
                executor = engines.turn_to(plan)
                score = partial(score_split, plan, book, executor, progress)
                candidates = Candidates(plan, book, even, score)
                if meter is None:
                    population = candidates.first(candidates.n_most)
                    score_selection(plan, book, population, score)
                else:
                    population = score_what_is_paid_for(
                        plan, book, folder, candidates, score, meter, executor.n_engines
                    )
                scored = score_selected(plan, book, population, score)
            evaluation = evaluate_ensemble(book, scored.experts, scored.choice, scored.best_id, scored.controls)
            manifest(plan, scored.experts, scored.choice).save(folder.manifest)
            summary = summarise(
                plan,
                book,
                folder.root,
                scored,
                evaluation,
                links(tracker),
                wall_s=time.monotonic() - started,
                engine=progress.engine,
                pilot=candidates.pilot,
                budget=None if meter is None else budget_use(meter, config.population.size),
                limit=limit,
            )
            # Before it is logged: a tracking server that fails now must not cost the result.
            write_text_atomically(folder.summary, summary.model_dump_json(indent=2))
            with book.open() as scores:
                own = own_plots(problem, summary, scores)
                write_report(folder, summary, scores, extra=own)
            log_results(tracker, book, summary, folder, own)
            log_lineage(tracker, plan, book, population, summary, folder)
            announce(plan, summary, tracker)
            emit_search_assets(plan, summary)
    return summary


def _note_shards(folder: RunFolder, plan: RunPlan) -> None:
    """Leave word of where the shards are, for whoever reads the run later, if that is not where he would look."""
    if plan.shards != plan.home.shards(plan.fingerprint):
        write_text_atomically(folder.shards, f"{plan.shards}\n")
    else:
        folder.shards.unlink(missing_ok=True)
