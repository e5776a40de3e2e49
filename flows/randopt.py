"""The search as a Prefect flow: seeds, scoring, aggregation, top-K selection, choice of K, the vote on the test split.

Start it from Python with ``randopt(RunConfig(...))``, with or without a running Prefect server, or from the command
line with ``thickets run``. Running the same configuration again goes on where it stopped (DESIGN.md section 6).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import polars as pl
from prefect import flow
from prefect.context import FlowRunContext

from flows.config import RunConfig
from flows.config_file import dump_config
from flows.plan import RunPlan, make_plan
from flows.progress import ScoringProgress
from flows.summary import ExpertRow, RunSummary, SigmaRow
from flows.tracking import finish_tracking, start_tracking
from storage.errors import RunError
from storage.files import write_text
from storage.layout import Home, RunFolder
from storage.manifest import EnsembleManifest
from tasks.aggregation import ScoreBook, aggregate_scores, check_complete
from tasks.engines import Engine, build_engine
from tasks.ensemble import CurvePoint, Evaluation, choose_k_on_validation, evaluate_ensemble
from tasks.noise import NOISE_VERSION
from tasks.preparation import prepare_base_model, prepare_splits
from tasks.problems import load_problem
from tasks.scoring import ScoringSession, candidate_id, plan_shards, score_shard
from tasks.seeds import candidates_of, generate_seeds
from tasks.selection import select_top_k
from tasks.statistics import accuracy
from tasks.types import Candidate

# Scores reach the database at least this often, so that `thickets sql` has something to say during a long run.
_AGGREGATE_EVERY_S = 30.0

EngineFactory = Callable[[RunPlan], Engine]


@flow(name="randopt", flow_run_name="{config.name}-n{config.population.size}", persist_result=False)
def randopt(config: RunConfig, fresh: bool = False) -> RunSummary:
    """Search the neighbourhood of a model for experts of a task and report how well they vote.

    Args:
        config: The run.
        fresh: Start over: what an earlier run with the same identity left is moved aside first.

    Returns:
        The summary, also kept as summary.json in the run's folder.

    Raises:
        InputError: Something in the configuration cannot be used.
        RunError: The run is already in progress, or could not be completed.
    """
    return search(config, fresh=fresh)


def search(config: RunConfig, *, fresh: bool = False, build: EngineFactory = lambda plan: build_engine(plan.engine)) -> RunSummary:
    """The body of the flow; `build` lets a benchmark put its own engine in."""
    started = time.monotonic()
    progress = ScoringProgress()
    home = Home(config.storage.home).writable()
    progress.say(f"preparing {config.model} and {config.problem.name}")
    base = prepare_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    problem = load_problem(config.problem)
    splits = prepare_splits(problem, config.data.selection, config.data.validation, config.data.test, config.data.seed)
    population = generate_seeds(config.population.size, config.population.sigmas, config.population.seed)
    plan = make_plan(config, base, problem, splits)
    with home.run_lock(plan.run_id) as folder:
        if fresh:
            for moved in home.set_aside(plan.run_id, plan.shards):
                progress.say(f"starting over; what was there is now in {moved}")
            folder.create()
        write_text(folder.config, dump_config(config))
        progress.say(f"run {plan.run_id} in {folder.root}")
        with start_tracking(plan, folder) as tracked:
            session = ScoringSession(
                lambda: build(plan), problem, plan.blocks, plan.sampling, plan.shards, progress.on_unit
            )
            try:
                run = _Run(plan, folder, session, population, progress)
                summary = run.carry_out(started)
            finally:
                session.drop_engine()
            summary = finish_tracking(tracked, summary, folder)
        write_text(folder.summary, summary.model_dump_json(indent=2))
    return summary


class _Run:
    """The stages of one run, in order, over what they share."""

    def __init__(
        self,
        plan: RunPlan,
        folder: RunFolder,
        session: ScoringSession,
        population: pl.DataFrame,
        progress: ScoringProgress,
    ) -> None:
        self._plan, self._folder, self._session = plan, folder, session
        self._population, self._progress = population, progress
        self._book = ScoreBook(folder.scores, plan.shards, plan.run_id, population, plan.blocks)

    def carry_out(self, started: float) -> RunSummary:
        selection = self._plan.config.selection
        self._score("selection", [None, *candidates_of(self._population)])
        experts = select_top_k(self._book, selection.k_values[-1])
        self._score("validation", [None, *candidates_of(experts)])
        k, validation_curve = choose_k_on_validation(self._book, experts, selection.k_values, selection.vote)
        self._progress.say(f"K = {k} chosen on the validation split among {', '.join(map(str, selection.k_values))}")
        experts = experts.head(k)
        self._score("test", [None, *candidates_of(experts)])
        evaluation = evaluate_ensemble(self._book, experts, k, selection.vote)
        self._manifest(experts).save(self._folder.manifest)
        return self._summary(experts, validation_curve, evaluation, started)

    def _score(self, split: str, candidates: Sequence[Candidate | None]) -> None:
        """Score whatever is missing of a split and see that nothing is."""
        scoring = self._plan.config.scoring
        n_blocks = self._session.n_blocks(split)
        done = aggregate_scores(self._book)
        shards = plan_shards(split, n_blocks, candidates, done.iter_rows(), scoring.candidates_per_shard)
        n_units = sum(len(shard.candidates) for shard in shards)
        score = score_shard.with_options(retries=scoring.retries)
        last_aggregated = time.monotonic()
        with self._progress.split(split, n_units, len(candidates) * n_blocks - n_units):
            for shard in shards:
                score(self._session, shard)
                if time.monotonic() - last_aggregated > _AGGREGATE_EVERY_S:
                    aggregate_scores(self._book)
                    last_aggregated = time.monotonic()
        if shards:
            done = aggregate_scores(self._book)
        check_complete(done, map(candidate_id, candidates), split, n_blocks)

    def _manifest(self, experts: pl.DataFrame) -> EnsembleManifest:
        plan = self._plan
        return EnsembleManifest.model_validate(
            {
                "base": {"name": plan.base.name, "revision": plan.base.revision, "sha256": plan.base.sha256},
                "noise": {
                    "version": NOISE_VERSION,
                    "family": plan.config.noise.family,
                    "include": plan.config.noise.include,
                    "exclude": plan.config.noise.exclude,
                },
                "experts": experts.select("rank", "seed", "sigma", "n_correct").to_dicts(),
                "problem": plan.identity["problem"],
                "prompt_template": plan.identity["prompt"],
                "decoding": plan.identity["decoding"],
                "vote": plan.config.selection.vote,
                "fingerprint": plan.fingerprint,
            }
        )

    def _summary(
        self,
        experts: pl.DataFrame,
        validation_curve: tuple[CurvePoint, ...],
        evaluation: Evaluation,
        started: float,
    ) -> RunSummary:
        plan, config = self._plan, self._plan.config
        with self._book.open() as store:
            [base] = store.totals("selection").iter_rows(named=True)
            sigmas = [
                SigmaRow(
                    sigma=row["sigma"],
                    n_candidates=row["n_candidates"],
                    mean_accuracy=row["mean_n_correct"] / row["n_examples"],
                    max_accuracy=row["max_n_correct"] / row["n_examples"],
                    n_at_least_base=row["n_at_least_base"],
                )
                for row in store.sigma_statistics().iter_rows(named=True)
            ]
            tokens = {
                split.name: sum(row["n_tokens"] + row["base_n_tokens"] for row in store.totals(split.name).to_dicts())
                for split in plan.splits
            }
        return RunSummary(
            run_id=plan.run_id,
            fingerprint=plan.fingerprint,
            folder=self._folder.root.resolve(),
            model=plan.base.name,
            model_sha256=plan.base.sha256,
            problem=config.problem.name,
            n_candidates=config.population.size,
            split_sizes={split.name: len(split.examples) for split in plan.splits},
            base_selection=accuracy(base["base_n_correct"], base["base_n_answers"]),
            sigmas=tuple(sigmas),
            validation_curve=validation_curve,
            evaluation=evaluation,
            experts=tuple(
                ExpertRow(rank=rank, seed=str(seed), sigma=sigma, n_correct=n_correct, n=n)
                for rank, seed, sigma, n_correct, n in experts.select(
                    "rank", "seed", "sigma", "n_correct", "n"
                ).iter_rows()
            ),
            n_tokens=tokens,
            wall_s=time.monotonic() - started,
            engine_s=self._progress.engine_s,
        )
