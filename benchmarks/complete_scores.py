"""Complete score tables: every candidate of a preset on every question of its splits, which a run never needs.

The run's own code (plan, shards, Prefect tasks, database) scores them into a home of their own, so an interrupted table
goes on where it stopped, and populations drawn from other seeds share what they can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray
from prefect import flow

from thickets.flows.config.run import RunConfig
from thickets.flows.placement.engines import open_cluster, open_executor
from thickets.flows.plan import make_plan
from thickets.flows.search.progress import ScoringProgress
from thickets.storage.home import Home
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.aggregation import aggregate_scores, check_complete
from thickets.tasks.engines import build_engine, resolve_spec
from thickets.tasks.preparation import prepare_base_model, prepare_splits
from thickets.tasks.problems import load_problem
from thickets.tasks.scoring.score import score_shards
from thickets.tasks.scoring.units import plan_shards
from thickets.tasks.seeds import candidates_of, population
from thickets.tasks.types import Candidate, Merge

SPLITS = ("selection", "validation", "test")


@dataclass(frozen=True)
class CompleteScores:
    """Answers of the base and of every candidate to every question.

    Attributes:
        population: candidate_id, seed, sigma; in the order of the population, `[n_candidates]`.
        sizes: Questions of the preset's selection, validation and test split.
        answers: candidate_id, example_id, answer, correct; base first, then by candidate, then by question.
    """

    population: pl.DataFrame
    sizes: tuple[int, int, int]
    answers: pl.DataFrame

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer is right, `[1 + n_candidates, n_questions]`; the base is row 0."""
        return self.answers["correct"].to_numpy().reshape(1 + self.population.height, -1)

    @cached_property
    def votes(self) -> NDArray[np.object_]:
        """Answers, None for an abstention, in the shape of `correct`."""
        return self.answers["answer"].to_numpy().astype(object).reshape(self.correct.shape)


@flow(name="complete-scores", flow_run_name="{config.name}-n{config.population.size}", persist_result=False)
def complete_scores(config: RunConfig, splits: Sequence[str] = SPLITS) -> CompleteScores:
    """Score the units that are missing in the table of one population, and return the table.

    Args:
        config: Of the population, and of the questions.
        splits: The splits that are in the table.

    Raises:
        InputError: Something in the configuration cannot be used.
        RunError: The table is being made already, or could not be completed.
    """
    drawn = population(config.population.size, config.population.sigmas, config.population.seed)
    answers = _score(config, splits, candidates_of(drawn))
    data = config.data
    return CompleteScores(drawn, (data.selection, data.validation, data.test), answers)


@flow(name="merge-scores", flow_run_name="{config.name}", persist_result=False, validate_parameters=False)
def merge_scores(config: RunConfig, split: str, merges: Sequence[Merge]) -> list[list[bool]]:
    """Let merges of the population's candidates answer a split, and return which answers are right, merge by merge.

    Raises:
        InputError, RunError: As for `complete_scores`.
    """
    answers = _score(config, [split], merges)
    right = dict(answers.group_by("candidate_id").agg("correct").iter_rows())
    return [right[merge.id] for merge in merges]


def _score(config: RunConfig, splits: Sequence[str], respondents: Sequence[Candidate | Merge]) -> pl.DataFrame:
    """Let base and respondents answer splits; candidate_id, example_id, answer, correct, in the order of all three."""
    progress = ScoringProgress()
    home = Home(config.storage.home).writable()
    base = prepare_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    problem = load_problem(config.single_problem)
    drawn = population(config.population.size, config.population.sigmas, config.population.seed)
    asked = [None, *dict.fromkeys(respondents)]
    ids = [BASE_ID, *(each.id for each in asked if each)]
    with open_cluster(config.engine) as cluster:
        resolve = cluster.resolve if cluster else resolve_spec
        plan = make_plan(config, base, problem, prepare_splits(problem, config.data.draw), resolve)
        with home.run_lock(plan.run_id) as folder:
            book = plan.book(folder.scores, plan.run_id, drawn)
            book.register(respondents)
            with open_executor(plan, progress.on_unit, build_engine, cluster) as executor:
                for split in splits:
                    n_blocks = plan.n_blocks(split)
                    done = aggregate_scores(book)
                    shards = plan_shards(split, n_blocks, asked, done.iter_rows(), config.scoring.candidates_per_shard)
                    left = sum(len(shard.candidates) for shard in shards)
                    with progress.split(split, left, len(asked) * n_blocks - left, executor.n_engines):
                        score_shards(executor, shards, retries=config.scoring.retries)
                    check_complete(aggregate_scores(book), ids, split, n_blocks)
            with book.open() as store:
                parts = [store.answers(split, ids) for split in splits]
    order = pl.DataFrame({"candidate_id": ids})
    answers = order.join(pl.concat(parts), on="candidate_id", maintain_order="left_right")
    return answers.select("candidate_id", "example_id", "answer", "correct")
