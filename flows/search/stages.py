"""The stages of a search after its candidates are scored: top-K selection, and the test split with its controls."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from thickets.flows.config.run import SelectionConfig
from thickets.flows.plan import RunPlan
from thickets.flows.runtime.environment import log
from thickets.flows.search.scoring import Scoring
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
from thickets.tasks.merging.trials import Trial
from thickets.tasks.problems.base import chooses
from thickets.tasks.problems.consensus import Consensus, consensus_of
from thickets.tasks.results.evaluation import CurvePoint, vote_in_words
from thickets.tasks.seeds import candidates_of
from thickets.tasks.selection.ranking import rank_candidates, select_top_k, union
from thickets.tasks.types import Reworded


@dataclass(frozen=True, slots=True)
class Selected:
    """What selection and validation split have chosen.

    Attributes:
        choice: Method, vote rule and K with the best validation score.
        curve: The validation scores of every method, rule and K.
        ranked: The candidates of the chosen method, by rank.
        tried: Candidates of all methods; they have answered the validation split.
        best: The best single expert, one row: the first of the selection split, which need not vote.
    """

    choice: CurvePoint
    curve: tuple[CurvePoint, ...]
    ranked: pl.DataFrame
    tried: pl.DataFrame
    best: pl.DataFrame

    @property
    def experts(self) -> pl.DataFrame:
        """The candidates that vote, by rank."""
        return self.ranked.head(self.choice.k)

    @property
    def best_id(self) -> str:
        """Id of the best single expert."""
        return str(self.best["candidate_id"][0])

    @property
    def tested(self) -> pl.DataFrame:
        """The candidates that answer the test split, controls aside: the experts and the best single one."""
        return union([self.experts, self.best])


def select(scoring: Scoring) -> Selected:
    """Rank the scored candidates by every method, score the best on the validation split, and choose there.

    Args:
        scoring: Of the run; its book has the scores of the selection split.
    """
    selection, book = scoring.plan.config.selection, scoring.book
    rankings = rank_candidates(book, selection.methods, selection.k_values[-1])
    tried = union(rankings.values())
    scoring.ask("validation", [None, *candidates_of(tried)])
    consensus = consensus_of(scoring.plan.problem)
    choice, curve = choose_on_validation(book, rankings, selection.k_values, selection.votes, consensus)
    log.info(f"{_describe(choice, consensus)} chosen on the validation split among {_options(selection)}")
    return Selected(choice, curve, rankings[choice.method], tried, select_top_k(book, 1))


def score_test(scoring: Scoring, population: pl.DataFrame, selected: Selected, merge: Trial | None = None) -> Controls:
    """Score base and experts on the test split, then the controls that the configuration has.

    Args:
        scoring: Of the run.
        population: Every candidate, to draw random experts from.
        selected: The experts.
        merge: The merge that stands beside them.
    """
    scoring.ask("test", [None, *candidates_of(selected.tested)])
    controls = plan_controls(scoring.plan, population, selected.experts, _best_wording(scoring), merge)
    if controls.panels:
        scoring.book.register(controls.respondents)
        scoring.ask("test", controls.respondents, label="controls")
    return controls


def plan_controls(
    plan: RunPlan,
    population: pl.DataFrame,
    experts: pl.DataFrame,
    wording: Reworded | None = None,
    merge: Trial | None = None,
) -> Controls:
    """List the controls beside an ensemble that the configuration has.

    Args:
        plan: The run.
        population: Every candidate.
        experts: Those that vote in the ensemble, by rank.
        wording: The best of the plan's wordings; None for the run's own.
        merge: One model made of the population; None where there is none.
    """
    wanted = plan.config.controls
    k = experts.height
    panels: list[Panel] = []
    # Likelihoods are not sampled: every sample would be the base's own answer.
    samples = wanted.self_consistency and not chooses(plan.problem)
    if samples:
        panels.append(self_consistency(k, wanted.temperature, wanted.seed))
    if wanted.random_experts:
        panels.append(random_experts(population, k, wanted.seed))
    if wanted.weight_average:
        panels.append(weight_average(candidates_of(experts)))
    if merge is not None:
        panels.append(Panel("merge", merge.label, (merge.merge,)))
    if plan.wordings:
        panels.append(best_prompt(plan.wordings, wording))
        if samples:
            panels.append(best_prompt_self_consistency(plan.wordings, wording, k, wanted.temperature, wanted.seed))
    return Controls(
        panels=tuple(panels),
        guess=best_guess(plan.problem, plan.splits.test.examples) if wanted.chance else None,
        trials=plan.wordings.trials if plan.wordings else (),
    )


def _best_wording(scoring: Scoring) -> Reworded | None:
    """Score the base on the validation split in every wording, and choose one; None is the run's own."""
    wordings = scoring.plan.wordings
    if wordings is None:
        return None
    scoring.book.register(wordings.trials)
    scoring.ask("validation", wordings.trials, label="prompts")
    return choose_prompt_on_validation(scoring.book, wordings.trials)


def _describe(choice: CurvePoint, consensus: Consensus) -> str:
    return f"{choice.method}, {vote_in_words(choice.rule, consensus.metric)} vote, K = {choice.k}"


def _options(selection: SelectionConfig) -> str:
    return " x ".join(str(list(options)) for options in (selection.methods, selection.votes, selection.k_values))
