"""The stages of a search after the selection split: validation with its choices, test with its controls."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from thickets.flows.config.run import SelectionConfig
from thickets.flows.plan import RunPlan
from thickets.flows.runtime.environment import log
from thickets.flows.search.progress import ScoringProgress
from thickets.tasks.aggregation import ScoreBook, aggregate_scores, check_complete
from thickets.tasks.evaluation.controls import (
    Controls,
    Panel,
    best_guess,
    random_experts,
    self_consistency,
    weight_average,
)
from thickets.tasks.evaluation.ensemble import choose_on_validation
from thickets.tasks.evaluation.wordings import best_prompt, best_prompt_self_consistency, choose_prompt_on_validation
from thickets.tasks.results.evaluation import CurvePoint
from thickets.tasks.scoring.executors import Executor
from thickets.tasks.scoring.score import score_shards
from thickets.tasks.scoring.units import candidate_id, plan_shards
from thickets.tasks.seeds import candidates_of
from thickets.tasks.selection.ranking import rank_candidates, select_top_k, union
from thickets.tasks.types import Respondent, Reworded

# Scores reach the database at least this often, so that `thickets sql` has something to say during a long run.
_AGGREGATE_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Scored:
    """What was chosen on the way, and who has answered what.

    Attributes:
        n_candidates: Candidates that were asked the selection split, or with racing a part of it.
        choice: Method, vote rule and K that the validation split chose.
        curve: What every method, rule and K reached there.
        ranked: The candidates of the chosen method, by rank; the first K of them are the experts.
        tried: Candidates of all methods, which have answered the validation split.
        tested: Candidates that have answered the test split, controls aside: the experts and the best single one.
        best_id: The best single expert: the first of the selection split.
        controls: What the ensemble is compared with.
    """

    n_candidates: int
    choice: CurvePoint
    curve: tuple[CurvePoint, ...]
    ranked: pl.DataFrame
    tried: pl.DataFrame
    tested: pl.DataFrame
    best_id: str
    controls: Controls

    @property
    def experts(self) -> pl.DataFrame:
        """The candidates that vote, by rank."""
        return self.ranked.head(self.choice.k)


def score_selected(plan: RunPlan, book: ScoreBook, population: pl.DataFrame, score: Callable[..., None]) -> Scored:
    """Rank the candidates by the selection split, and score the other two; each one decides whom the next one asks.

    Args:
        plan: The run.
        book: Takes the scores.
        population: Every candidate that was asked the selection split.
        score: `score_split` with all but the split, the respondents and the label.
    """
    selection = plan.config.selection
    rankings = rank_candidates(book, selection.methods, selection.k_values[-1])
    tried = union(rankings.values())
    score("validation", [None, *candidates_of(tried)])
    choice, curve = choose_on_validation(book, rankings, selection.k_values, selection.votes)
    log.info(f"{_describe(choice)} chosen on the validation split among {_options(selection)}")
    ranked, best = rankings[choice.method], select_top_k(book, 1)
    experts = ranked.head(choice.k)
    tested = union([experts, best])  # the best single expert need not be one that votes
    score("test", [None, *candidates_of(tested)])
    controls = plan_controls(plan, population, experts, _best_wording(plan, book, score))
    if controls.panels:
        book.register(controls.respondents)
        score("test", controls.respondents, label="controls")
    return Scored(population.height, choice, curve, ranked, tried, tested, best["candidate_id"][0], controls)


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


def score_split(
    plan: RunPlan,
    book: ScoreBook,
    executor: Executor,
    progress: ScoringProgress,
    split: str,
    candidates: Sequence[Respondent],
    label: str = "",
    blocks: Sequence[int] | None = None,
) -> None:
    """Score whatever is missing of a split, and see that nothing is afterwards.

    Args:
        plan: The run.
        book: Takes the scores.
        executor: Makes them.
        progress: Is told of them.
        split: Whose questions.
        candidates: Who is asked.
        label: For progress, instead of the split's name.
        blocks: Which blocks of the split are asked; None: all.
    """
    scoring = plan.config.scoring
    asked = range(plan.n_blocks(split)) if blocks is None else blocks
    done = aggregate_scores(book)
    shards = plan_shards(split, plan.n_blocks(split), candidates, done.iter_rows(), scoring.candidates_per_shard, asked)
    n_units = sum(len(shard.candidates) for shard in shards)
    last_aggregated = time.monotonic()

    def aggregate_now_and_then() -> None:
        nonlocal last_aggregated
        if time.monotonic() - last_aggregated > _AGGREGATE_EVERY_S:
            aggregate_scores(book)
            last_aggregated = time.monotonic()

    with progress.split(label or split, n_units, len(candidates) * len(asked) - n_units, executor.n_engines):
        score_shards(executor, shards, retries=scoring.retries, on_tick=aggregate_now_and_then)
    if shards:
        done = aggregate_scores(book)
    check_complete(done, [candidate_id(who) for who in candidates], split, asked)


def plan_controls(
    plan: RunPlan, population: pl.DataFrame, experts: pl.DataFrame, wording: Reworded | None = None
) -> Controls:
    """The controls that the configuration asks for, beside an ensemble.

    Args:
        plan: The run.
        population: Every candidate.
        experts: Those that vote in the ensemble, by rank.
        wording: The best of the plan's wordings; None for the run's own.
    """
    asked = plan.config.controls
    k = experts.height
    panels: list[Panel] = []
    if asked.self_consistency:
        panels.append(self_consistency(k, asked.temperature, asked.seed))
    if asked.random_experts:
        panels.append(random_experts(population, k, asked.seed))
    if asked.weight_average:
        panels.append(weight_average(candidates_of(experts)))
    if plan.wordings:
        panels.append(best_prompt(plan.wordings, wording))
        if asked.self_consistency:
            panels.append(best_prompt_self_consistency(plan.wordings, wording, k, asked.temperature, asked.seed))
    return Controls(
        panels=tuple(panels),
        guess=best_guess(plan.problem, plan.splits.test.examples) if asked.chance else None,
        trials=plan.wordings.trials if plan.wordings else (),
    )
