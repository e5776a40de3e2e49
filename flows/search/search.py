"""The search: prepare, score, select, evaluate, publish."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

import polars as pl

from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.engines import Engines, open_cluster
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.publish.artifacts import announce, emit_search_assets
from thickets.flows.publish.lineage import log_lineage
from thickets.flows.publish.tracking import links, log_results, start_tracking
from thickets.flows.report import own_plots, write_report
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.environment import log
from thickets.flows.search.answer_limit import learn
from thickets.flows.search.candidates import Candidates, score_selection
from thickets.flows.search.progress import ScoringProgress
from thickets.flows.search.smaller_batch import BatchTooLargeError, watch_first_batch, with_smaller_batch
from thickets.flows.search.spending import budget_use, make_meter, score_what_is_paid_for, session_timed
from thickets.flows.search.stages import score_selected, score_split
from thickets.flows.search.summarise import summarise
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import EnsembleManifest
from thickets.storage.shards.folder import check_writable
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.engines import Engine, EngineSpec, build_engine
from thickets.tasks.evaluation.ensemble import evaluate_ensemble
from thickets.tasks.noise import NOISE_VERSION
from thickets.tasks.preparation import prepare_base_model, prepare_splits
from thickets.tasks.problems import load_problem
from thickets.tasks.results.evaluation import CurvePoint
from thickets.tasks.seeds import generate_seeds


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
            for moved in [*home.set_aside(plan.run_id), *shard_folder.set_aside(plan.shards)]:
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


def manifest(plan: RunPlan, experts: pl.DataFrame, choice: CurvePoint) -> EnsembleManifest:
    """The ensemble as a file that rebuilds it: no weights, only whose neighbours the experts are and which.

    Args:
        plan: The run.
        experts: rank, seed, sigma, n_correct, weight; the experts that vote, by rank.
        choice: Who ranked them, and how they vote.
    """
    base, noise = plan.base, plan.config.noise
    return EnsembleManifest.model_validate(
        {
            "base": {"name": base.name, "revision": base.revision, "sha256": base.sha256},
            "noise": {
                "version": NOISE_VERSION,
                "family": noise.family,
                "include": list(noise.include),
                "exclude": list(noise.exclude),
            },
            "experts": experts.select("rank", "seed", "sigma", "n_correct", "weight").to_dicts(),
            "problem": plan.identity["problem"],
            "prompt_template": plan.identity["prompt"],
            "decoding": plan.identity["decoding"],
            "method": choice.method,
            "vote": choice.rule,
            "fingerprint": plan.fingerprint,
            # Not where the data lies: that is this machine's business, and asking needs none.
            "problem_config": plan.config.single_problem.model_dump(mode="json", exclude={"path", "test_path"}),
            "engine": plan.identity["engine"],
        }
    )
