"""The search: prepare, score, select, evaluate, publish."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from thickets.flows.config.file import dump_config
from thickets.flows.config.kept import record_start
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.description import describe_engine
from thickets.flows.placement.engines import Engines, open_cluster
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.publish.artifacts import announce, emit_search_assets
from thickets.flows.publish.finished import FinishedRun
from thickets.flows.publish.log import log_at_the_end
from thickets.flows.publish.record import TrackingRecord
from thickets.flows.publish.tracking import draw_figures, links, result_markdown, start_tracking
from thickets.flows.report import own_plots, write_report
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.clock import session_began
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.prefect_server import show_markdown, shown, wait_for_server
from thickets.flows.search.answer_limit import learn
from thickets.flows.search.beginning import record_prompts, recorded
from thickets.flows.search.candidates import Candidates, score_first
from thickets.flows.search.engine_time import times_kept, times_of
from thickets.flows.search.forecast import Forecast, forecast
from thickets.flows.search.merging import merge_candidates
from thickets.flows.search.progress import ScoringProgress
from thickets.flows.search.rescoring import check_same_answers
from thickets.flows.search.scoring import Scoring
from thickets.flows.search.smaller_batch import BatchTooLargeError, watch_first_batch, with_smaller_batch
from thickets.flows.search.spending import budget_use, make_meter, score_affordable, session_timed
from thickets.flows.search.stages import score_test, select
from thickets.flows.search.summarise import summarise
from thickets.flows.search.verdict_change import compare_with_earlier
from thickets.storage.errors import InputError
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import EnsembleManifest, MergeManifest
from thickets.storage.shards.folder import check_writable
from thickets.storage.shards.uses import record_other_answers
from thickets.storage.tracking.run import Tracker
from thickets.tasks.adaptive.token_limit import TokenLimit
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.engines import Engine, EngineSpec, build_engine
from thickets.tasks.evaluation.ensemble import evaluate_ensemble
from thickets.tasks.merging.trials import Trial
from thickets.tasks.noise import NOISE_VERSION
from thickets.tasks.preparation import prepare_base_model, prepare_splits
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.consensus import consensus_of
from thickets.tasks.problems.file import written_out
from thickets.tasks.results.evaluation import CurvePoint
from thickets.tasks.seeds import generate_seeds


def search(
    config: RunConfig,
    *,
    fresh: bool = False,
    rescored_from: str | None = None,
    build: Callable[[EngineSpec], Engine] = build_engine,
) -> RunSummary:
    """Search, with smaller batches from the beginning if the first batch does not fit into memory.

    Args:
        config: The run, of one problem.
        fresh: Move what an earlier run with the same identity left aside first; an error if other runs of the home
            have the same answers, which they would lose.
        rescored_from: The run whose answers are judged again; an error if other answers would be needed.
        build: Builds the engine; a benchmark passes its own to measure everything but the engine.
    """
    with open_cluster(config.engine) as cluster:
        while True:
            progress = ScoringProgress()
            try:
                with Engines(progress.on_unit, build, cluster) as engines:
                    return _search(config, engines, progress, fresh=fresh, rescored_from=rescored_from)
            except BatchTooLargeError as error:
                config = with_smaller_batch(config, error)


def _search(
    config: RunConfig, engines: Engines, progress: ScoringProgress, *, fresh: bool, rescored_from: str | None
) -> RunSummary:
    """Take one run through its stages; each finds what an earlier session has finished."""
    began, started = session_began(), time.monotonic()
    prepared = _prepare(config, engines, progress)
    plan, limit, engine = prepared.plan, prepared.limit, describe_engine(prepared.plan)
    if rescored_from is not None:
        check_same_answers(plan, rescored_from)
    log.info(str(engine))
    for line in engine.warnings:
        log.warning(line)
    with plan.home.run_lock(plan.run_id) as folder:
        _begin(plan, folder, fresh=fresh)
        folder.progress.unlink(missing_ok=True)  # an earlier session's
        progress.file = folder.progress
        if prepared.limit_plan is not None:
            record_other_answers(folder, prepared.limit_plan.fingerprint, prepared.limit_plan.verdicts)
        book = prepared.open_book(folder)
        if changed := compare_with_earlier(plan, book, folder):
            log.info(changed.sentence)
        meter = make_meter(plan, book, folder, progress, started, limit.n_extra_tokens if limit else 0)
        with (
            recorded(folder, progress) as begin,
            session_timed(folder, meter),
            times_kept(folder.engine_time, progress),
            start_tracking(plan, folder, book, engine.tags | _origin(rescored_from)) as tracker,
        ):
            with watch_first_batch(plan), engines:
                progress.forecast = _forecast(plan, book)
                scoring = Scoring(plan, book, engines.turn_to(plan), progress, begin)
                candidates = Candidates(scoring, prepared.seeds)
                if meter is None:
                    population = score_first(scoring, candidates, candidates.n_most)
                else:
                    population = score_affordable(scoring, candidates, folder, meter)
                selected = select(scoring)
                merged = merge_candidates(scoring, config.merge) if config.merge else None
                controls = score_test(scoring, population, selected, merged.trial if merged else None)
            evaluation = evaluate_ensemble(
                book, selected.experts, selected.choice, selected.best_id, controls, consensus_of(plan.problem)
            )
            make_manifest(plan, selected.experts, selected.choice).save(folder.manifest)
            if merged is not None and merged.trial is not None:
                merge_manifest(plan, merged.trial).save(folder.merge)
            else:
                folder.merge.unlink(missing_ok=True)  # an earlier session, with other merges, may have had one
            summary = summarise(
                plan,
                book,
                folder.root,
                population,
                selected,
                controls,
                evaluation,
                links(tracker),
                wall_s=time.monotonic() - began,
                engine=progress.engine,
                pilot=candidates.pilot,
                budget=None if meter is None else budget_use(meter, config.population.size),
                limit=limit,
                rescored_from=rescored_from,
                changed_verdicts=changed,
                merge=merged.choice if merged else None,
                times=times_of(folder.engine_time, progress),
            )
            _publish(plan, book, folder, tracker, summary)
    return summary


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A run before anything of it is scored.

    Attributes:
        plan: Everything that stays the same until its end.
        seeds: The whole population, its sigmas shared out evenly.
        limit: What was learned about the length of answers; None where the configuration sets it.
        limit_plan: The plan of the answers that it was learned from.
    """

    plan: RunPlan
    seeds: pl.DataFrame
    limit: TokenLimit | None
    limit_plan: RunPlan | None

    def open_book(self, folder: RunFolder) -> ScoreBook:
        """Return the run's score book with no candidate in it: which ones there are, a pilot or a budget decides."""
        return self.plan.book(folder.scores, self.plan.run_id, self.seeds.clear())


def _prepare(config: RunConfig, engines: Engines, progress: ScoringProgress) -> _Prepared:
    """Fetch the model, draw splits and seeds, and plan; a learned limit makes the base answer the selection split."""
    Home(config.storage.home).writable()
    if config.storage.shards is not None:
        check_writable(config.storage.shards)
    log.info(f"preparing {config.model} and {config.single_problem.title}")
    base = prepare_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    problem = load_problem(config.single_problem)
    data = config.data
    splits = prepare_splits(problem, data.draw)
    seeds = generate_seeds(config.population.size, config.population.sigmas, config.population.seed)
    limit, limit_plan = learn(config, base, problem, splits, engines, progress) or (None, None)
    max_tokens = None if limit is None else limit.max_tokens
    plan = make_plan(config, base, problem, splits, engines.resolve, limit=max_tokens)
    return _Prepared(plan, seeds, limit, limit_plan)


def _forecast(plan: RunPlan, book: ScoreBook) -> Forecast | None:
    """Forecast the run, less what earlier sessions have answered."""
    whole = forecast(plan)
    if whole is None or not book.database.is_file():
        return whole
    with book.open() as store:
        return whole.without({split.name: store.spent(split.name)[0] for split in plan.splits})


def _begin(plan: RunPlan, folder: RunFolder, *, fresh: bool) -> None:
    """Write down what the run is before anything is scored; `fresh` first moves what is there aside."""
    if fresh:
        _set_aside(plan)
    config = dump_config(plan.config)
    if not folder.config.is_file() or folder.config.read_text(encoding="utf-8") != config:  # else it keeps its time
        write_text_atomically(folder.config, config)
    record_start(folder)
    write_text_atomically(folder.fingerprint, plan.fingerprint + "\n")
    write_text_atomically(folder.identity, json.dumps(plan.identity, indent=2) + "\n")
    judgement = json.dumps(plan.judgement, indent=2) + "\n"
    if not folder.judgement.is_file() or folder.judgement.read_text(encoding="utf-8") != judgement:
        write_text_atomically(folder.judgement, judgement)
    record_prompts(folder, plan.blocks, plan.template)
    _record_shard_folder(plan, folder)
    for shards in (plan.shard_folder, plan.verdict_folder):
        shards.clean_temporaries()  # what a killed writer left
    log.info(f"run {plan.run_id} in {folder.root}")


def _set_aside(plan: RunPlan) -> None:
    """Move what the run left aside: all of it, or nothing where that fails or would take answers from other runs.

    Raises:
        InputError: Other runs of the home have the same answers.
    """
    if others := plan.home.sharers(plan.run_id, plan.fingerprint):
        raise InputError(
            f"--fresh: the answers of {plan.run_id} are also those of {', '.join(others)}, which would lose them; "
            "leave --fresh out to use them again, or start over in another home (storage.home)"
        )
    kept = plan.home.set_aside(plan.run_id)
    try:
        shards = plan.shard_folder.set_aside(plan.shards)
    except BaseException:
        plan.home.put_back(plan.run_id, kept)
        raise
    for moved in [*kept, *shards]:
        log.info(f"starting over; what was there is now in {moved}")


def _origin(rescored_from: str | None) -> dict[str, str]:
    """Return the MLflow tag of a run that judges another's answers again."""
    return {} if rescored_from is None else {"thickets.rescored_from": rescored_from}


def _record_shard_folder(plan: RunPlan, folder: RunFolder) -> None:
    """Record the shard folder in the run's folder if it is not the default one."""
    if plan.shards != plan.home.shards(plan.fingerprint):
        write_text_atomically(folder.shards, f"{plan.shards}\n")
    else:
        folder.shards.unlink(missing_ok=True)


def _publish(plan: RunPlan, book: ScoreBook, folder: RunFolder, tracker: Tracker, summary: RunSummary) -> None:
    """Write summary and report, then tell MLflow and Prefect: a server that fails now must not cost the result."""
    record = TrackingRecord.load(folder).having(measured_ms=int(time.time() * 1000))
    record.save(folder)
    write_text_atomically(folder.unlogged, f"{record.uri}\n")
    write_text_atomically(folder.summary, summary.model_dump_json(indent=2))
    with book.open() as scores:
        plots = own_plots(plan.problem, summary, scores)
        write_report(folder, summary, scores, extra=plots)
        draw_figures(summary, scores, folder, plots)
    log_at_the_end(plan.home, FinishedRun(folder, plan.config, record, summary, book.open))
    wait_for_server()
    show_markdown(result_markdown(summary), "result", "Result on the test split")
    with shown("the result"):
        announce(plan, summary, tracker)
    with shown("the assets"):
        emit_search_assets(plan, summary)


def merge_manifest(plan: RunPlan, trial: Trial) -> MergeManifest:
    """Describe a merge without weights: the base, and seed, sigma and coefficient of every candidate in it."""
    merge = trial.merge
    members = [
        {"seed": member.seed, "sigma": member.sigma, "coefficient": coefficient}
        for member, coefficient in zip(merge.members, merge.coefficients, strict=True)
    ]
    return MergeManifest.model_validate({**_what_answers(plan), "label": trial.label, "members": members})


def make_manifest(plan: RunPlan, experts: pl.DataFrame, choice: CurvePoint) -> EnsembleManifest:
    """Describe the ensemble without weights: the base, and seed and sigma of every expert.

    Args:
        plan: The run.
        experts: rank, seed, sigma, n_correct, weight; the experts that vote, by rank.
        choice: The method that ranked them, and their vote rule.
    """
    return EnsembleManifest.model_validate(
        {
            **_what_answers(plan),
            "experts": experts.select("rank", "seed", "sigma", "n_correct", "weight").to_dicts(),
            "method": choice.method,
            "vote": choice.rule,
        }
    )


def _what_answers(plan: RunPlan) -> dict[str, Any]:
    """Return what the manifests of a run have in common: base, noise, and how it is asked and judged."""
    base, noise = plan.base, plan.engine.perturbation
    return {
        "base": {"name": base.name, "revision": base.revision, "sha256": base.sha256},
        "noise": {
            "version": NOISE_VERSION,
            "family": noise.family,
            "include": list(noise.include),
            "exclude": list(noise.exclude),
            "scale": list(noise.scale),
        },
        "problem": plan.problem.identity(),
        "prompt_template": plan.identity["prompt"],
        "decoding": {**plan.identity["decoding"], "reasoning": plan.judge.reasoning and list(plan.judge.reasoning)},
        "fingerprint": plan.fingerprint,
        "problem_config": _without_paths(plan),
        "engine": plan.identity["engine"],
    }


def _without_paths(plan: RunPlan) -> dict[str, Any]:
    """Return the section without where the data lies: that is this machine's business, and answering needs none.

    What people call the problem may come from a path, so it is kept as the label. Worked examples are written out.
    """
    problem = written_out(plan.problem, plan.config.single_problem)
    values = problem.model_dump(mode="json", exclude={"path", "test_path", "label"})
    return values if problem.title == problem.name else values | {"label": problem.title}
