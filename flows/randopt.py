"""The search as a Prefect flow: seeds, scoring, aggregation, selection, choice of K, the vote on the test split.

Start it from Python with ``randopt(RunConfig(...))``, with or without a running Prefect server, or from the command
line with ``thickets run``. Running the same configuration again goes on where it stopped (DESIGN.md section 6).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from prefect import flow

from flows.config import RunConfig, SelectionConfig
from flows.config_file import dump_config
from flows.executor import open_cluster, open_executor
from flows.plan import RunPlan, make_plan, manifest, plan_controls
from flows.progress import ScoringProgress, log
from flows.summarise import summarise
from flows.summary import RunSummary
from flows.tracking import links, log_results, start_tracking
from storage.files import write_text_atomically
from storage.layout import Home, RunFolder
from storage.shard_folder import check_writable
from tasks.aggregation import ScoreBook, aggregate_scores, check_complete
from tasks.engines import Engine, EngineSpec, build_engine, resolve_spec
from tasks.ensemble import choose_on_validation, evaluate_ensemble
from tasks.executors import Executor
from tasks.executors.ray_cluster import RayCluster
from tasks.preparation import prepare_base_model, prepare_splits
from tasks.problems import load_problem
from tasks.results import CurvePoint
from tasks.scoring import score_shards
from tasks.seeds import candidates_of, generate_seeds
from tasks.selection import rank_candidates, select_top_k, union
from tasks.types import Respondent, Reworded
from tasks.units import candidate_id, plan_shards
from tasks.wordings import choose_prompt_on_validation

# Scores reach the database at least this often, so that `thickets sql` has something to say during a long run.
_AGGREGATE_EVERY_S = 30.0


@flow(name="randopt", flow_run_name="{config.name}-n{config.population.size}", persist_result=False)
def randopt(config: RunConfig, fresh: bool = False) -> RunSummary:
    """Search the neighbourhood of a model for experts of a task and report how well they vote.

    Args:
        config: The run; one with several `problems` is for `flows.randopt_many.randopt_many`.
        fresh: Start over: what an earlier run with the same identity left is moved aside first.

    Returns:
        The summary, also kept as summary.json in the run's folder.

    Raises:
        InputError: Something in the configuration cannot be used.
        RunError: The run is already in progress, or could not be completed.
    """
    return search(config, fresh=fresh)


def search(
    config: RunConfig, *, fresh: bool = False, build: Callable[[EngineSpec], Engine] = build_engine
) -> RunSummary:
    """The body of the flow; a benchmark passes its own `build` to measure everything but the engine."""
    with open_cluster(config.engine) as cluster:
        return _search(config, cluster, fresh=fresh, build=build)


def _search(
    config: RunConfig, cluster: RayCluster | None, *, fresh: bool, build: Callable[[EngineSpec], Engine]
) -> RunSummary:
    started = time.monotonic()
    asked = config.single_problem
    progress = ScoringProgress()
    home = Home(config.storage.home).writable()
    if config.storage.shards is not None:
        check_writable(config.storage.shards)
    log.info(f"preparing {config.model} and {asked.name}")
    base = prepare_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    problem = load_problem(asked)
    data = config.data
    splits = prepare_splits(problem, data.selection, data.validation, data.test, data.seed)
    population = generate_seeds(config.population.size, config.population.sigmas, config.population.seed)
    plan = make_plan(config, base, problem, splits, cluster.resolve if cluster else resolve_spec)
    shard_folder = plan.shard_folder
    with home.run_lock(plan.run_id) as folder:
        if fresh:
            for moved in [*home.set_aside(plan.run_id, plan.fingerprint), *shard_folder.set_aside()]:
                log.info(f"starting over; what was there is now in {moved}")
        write_text_atomically(folder.config, dump_config(config))
        write_text_atomically(folder.fingerprint, plan.fingerprint + "\n")
        _note_shards(folder, plan)
        shard_folder.clean_temporaries()  # what a killed writer left
        log.info(f"run {plan.run_id} in {folder.root}")
        book = ScoreBook(folder.scores, plan.shards, plan.run_id, population, plan.blocks, shard_folder.mirror)
        executor = open_executor(plan, progress.on_unit, build, cluster)
        with start_tracking(plan, book) as tracker:
            score = partial(_score_split, plan, book, executor, progress)
            try:
                score("selection", [None, *candidates_of(population)])
                selection = config.selection
                rankings = rank_candidates(book, selection.methods, selection.k_values[-1])
                tried = union(rankings.values())
                score("validation", [None, *candidates_of(tried)])
                choice, curve = choose_on_validation(book, rankings, selection.k_values, selection.votes)
                log.info(f"{_describe(choice)} chosen on the validation split among {_options(selection)}")
                ranked = rankings[choice.method]
                experts, best = ranked.head(choice.k), select_top_k(book, 1)
                tested = union([experts, best])  # the best single expert need not be one that votes
                score("test", [None, *candidates_of(tested)])
                wording = _best_wording(plan, book, score)
                controls = plan_controls(plan, population, experts, wording)
                if controls.panels:
                    book.register(controls.respondents)
                    score("test", controls.respondents, label="controls")
            finally:
                executor.close()
            evaluation = evaluate_ensemble(book, experts, choice, best["candidate_id"][0], controls)
            manifest(plan, experts, choice).save(folder.manifest)
            summary = summarise(
                plan,
                book,
                folder.root,
                ranked,
                {"validation": tried, "test": tested},
                curve,
                evaluation,
                controls,
                links(tracker),
                wall_s=time.monotonic() - started,
                engine=progress.engine,
            )
            # Before it is logged: a tracking server that fails now must not cost the result.
            write_text_atomically(folder.summary, summary.model_dump_json(indent=2))
            log_results(tracker, book, summary, folder)
    return summary


def _best_wording(plan: RunPlan, book: ScoreBook, score: Callable[..., None]) -> Reworded | None:
    """Ask the base the validation split in every wording there is, and choose one; None is the run's own."""
    if plan.wordings is None:
        return None
    trials = plan.wordings.trials
    book.register(trials)
    score("validation", trials, label="prompts")
    return choose_prompt_on_validation(book, trials)


def _describe(choice: CurvePoint) -> str:
    return f"{choice.method}, {choice.rule} vote, K = {choice.k}"


def _options(selection: SelectionConfig) -> str:
    return " x ".join(str(list(options)) for options in (selection.methods, selection.votes, selection.k_values))


def _note_shards(folder: RunFolder, plan: RunPlan) -> None:
    """Leave word of where the shards are, for whoever reads the run later, if that is not where he would look."""
    if plan.shards != plan.home.shards(plan.fingerprint):
        write_text_atomically(folder.shards, f"{plan.shards}\n")
    else:
        folder.shards.unlink(missing_ok=True)


def _score_split(
    plan: RunPlan,
    book: ScoreBook,
    executor: Executor,
    progress: ScoringProgress,
    split: str,
    candidates: Sequence[Respondent],
    label: str = "",
) -> None:
    """Score whatever is missing of a split, and see that nothing is afterwards; the label is for progress."""
    scoring = plan.config.scoring
    n_blocks = plan.n_blocks(split)
    done = aggregate_scores(book)
    shards = plan_shards(split, n_blocks, candidates, done.iter_rows(), scoring.candidates_per_shard)
    n_units = sum(len(shard.candidates) for shard in shards)
    last_aggregated = time.monotonic()

    def aggregate_now_and_then() -> None:
        nonlocal last_aggregated
        if time.monotonic() - last_aggregated > _AGGREGATE_EVERY_S:
            aggregate_scores(book)
            last_aggregated = time.monotonic()

    with progress.split(label or split, n_units, len(candidates) * n_blocks - n_units, executor.n_engines):
        score_shards(executor, shards, retries=scoring.retries, on_tick=aggregate_now_and_then)
    if shards:
        done = aggregate_scores(book)
    check_complete(done, map(candidate_id, candidates), split, n_blocks)
