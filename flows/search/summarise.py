"""Collects the summary of a finished run from its score database."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import polars as pl

from thickets.flows.plan import RunPlan
from thickets.flows.results.summary import (
    AnswerCounts,
    BudgetUse,
    EngineUse,
    ExpertRow,
    RunSummary,
    SelectionAnswers,
    SigmaRow,
    TrackingLinks,
    VerdictChange,
)
from thickets.flows.search.candidates import describe_race
from thickets.flows.search.cost import run_cost
from thickets.flows.search.stages import Selected
from thickets.storage.scores.database import BASE_ID, ScoreStore
from thickets.tasks.adaptive.token_limit import TokenLimit
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.evaluation.controls import Controls, count_tokens
from thickets.tasks.evaluation.cost import Times
from thickets.tasks.evaluation.thicket import describe
from thickets.tasks.evaluation.thinking import describe_thinking
from thickets.tasks.problems.base import chooses
from thickets.tasks.results.evaluation import Evaluation
from thickets.tasks.results.merging import MergeChoice
from thickets.tasks.results.pilot import Pilot
from thickets.tasks.scoring.units import candidate_id
from thickets.tasks.statistics import accuracy
from thickets.tasks.types import FULL
from thickets.tasks.verifiers.programs import isolation_of


def summarise(
    plan: RunPlan,
    book: ScoreBook,
    folder: Path,
    population: pl.DataFrame,
    selected: Selected,
    controls: Controls,
    evaluation: Evaluation,
    tracking: TrackingLinks,
    *,
    wall_s: float,
    engine: EngineUse,
    pilot: Pilot | None = None,
    budget: BudgetUse | None = None,
    limit: TokenLimit | None = None,
    rescored_from: str | None = None,
    changed_verdicts: VerdictChange | None = None,
    merge: MergeChoice | None = None,
    times: Times | None = None,
) -> RunSummary:
    """Put the figures together; see `thickets.flows.results.summary.RunSummary`.

    Args:
        plan: The run.
        book: Its scores.
        folder: Its folder.
        population: Every scored candidate.
        selected: The choice, its experts, and the candidates that were tried.
        controls: The respondents that the ensemble is compared with.
        evaluation: The figures of the test split.
        tracking: Links to the run in MLflow and Prefect.
        wall_s: Seconds of this session.
        engine: Time and work of the engines in it.
        pilot: What the pilot showed about the sigmas.
        budget: The budget.
        limit: The learned limit of answers.
        rescored_from: The run whose answers are judged again.
        changed_verdicts: How verdicts differ from those of an earlier run on the same answers.
        merge: What merges did on the validation split.
        times: What engines took in all sessions.
    """
    experts, problem = selected.experts, plan.config.single_problem
    # Of a graded vote only: else each correct answer is worth 1000.
    points = experts["points"] if (experts["points"] != FULL * experts["n_correct"]).any() else [None] * experts.height
    with book.open() as store:
        selection = store.totals("selection").row(0, named=True)
        sigmas = store.sigma_statistics()
        base_selection = accuracy(*store.common_base("selection"))
        race = describe_race(plan.config, store)
        answered = _selection_answers(plan, store)
        # Shards of a smaller population may hold answers of experts that are none in this one; they are not counted.
        n_tokens = {"selection": selection["n_tokens"] + selection["base_n_tokens"]}
        for split, who in {"validation": selected.tried, "test": selected.tested}.items():
            answers = store.answers(split, [BASE_ID, *who["candidate_id"]])
            n_tokens[split] = int(answers["n_tokens"].sum())
        thinking = describe_thinking(
            store, experts["candidate_id"].to_list(), plan.judge.reasoning, lambda: plan.template.count
        )
        thicket = describe(
            store,
            plan.judge,
            plan.splits.test.examples,
            selected.ranked,
            evaluation.k,
            evaluation.rule,
        )
        if controls.panels:
            # A random expert that votes in the ensemble too has been counted, and so has the base where its own prompt
            # is the best.
            extra = {candidate_id(who) for who in controls.respondents} - {BASE_ID, *selected.tested["candidate_id"]}
            n_tokens["controls"] = count_tokens(store, "test", sorted(extra))
            n_tokens["controls"] += count_tokens(store, "validation", [who.id for who in controls.trials])
        if merge is not None:
            n_tokens["merge"] = count_tokens(store, "validation", [trial.id for trial in merge.trials])
            if merge.search is not None:
                n_tokens["merge"] += count_tokens(store, "selection", list(merge.search.ids))
        cost = run_cost(plan, store, selected, controls, merge, limit, times or {})
    if limit is not None:
        n_tokens["limit"] = limit.n_extra_tokens
    return RunSummary(
        run_id=plan.run_id,
        fingerprint=plan.fingerprint,
        folder=folder.resolve(),
        model=plan.base.name,
        model_sha256=plan.base.sha256,
        problem=problem.title,
        n_candidates=population.height,
        split_sizes={split.name: len(split.examples) for split in plan.splits},
        base_selection=base_selection,
        sigmas=tuple(
            SigmaRow(
                sigma=row["sigma"],
                n_candidates=row["n_candidates"],
                mean_accuracy=row["mean_n_correct"] / row["n_examples"]
                if scores.unit == 1
                else row["mean_points"] / (FULL * row["n_examples"]),
                max_accuracy=row["max_points"] / (FULL * row["n_examples"]),
                n_at_least_base=row["n_at_least_base"],
            )
            for row, scores in zip(sigmas.iter_rows(named=True), thicket.sigmas, strict=True)
        ),
        validation_curve=selected.curve,
        evaluation=evaluation,
        experts=tuple(
            ExpertRow(
                rank=row["rank"],
                seed=str(row["seed"]),
                sigma=row["sigma"],
                n_correct=row["n_correct"],
                n=row["n"],
                weight=row["weight"],
                points=total,
            )
            for row, total in zip(experts.iter_rows(named=True), points, strict=True)
        ),
        n_tokens=n_tokens,
        tracking=tracking,
        wall_s=wall_s,
        engine=engine.model_copy(update={"seconds": cost.seconds}),
        thicket=thicket,
        version=version("thickets"),
        pilot=pilot,
        race=race,
        budget=budget,
        limit=limit,
        answers=answered,
        rescored_from=rescored_from,
        changed_verdicts=changed_verdicts,
        merge=merge,
        dropped=dict(plan.dropped),
        thinking=thinking,
        sandbox=isolation_of(problem.sandbox) if problem.runs_programs else None,
        by_likelihood=chooses(plan.problem),
        cost=cost.timed({}),
    )


def _selection_answers(plan: RunPlan, store: ScoreStore) -> SelectionAnswers:
    counts = store.answer_counts("selection")
    if not kind_of(plan.base.path).ends_answers:
        counts = counts.with_columns(n_cut_off=pl.lit(0))
    base, candidates = (AnswerCounts(**row) for row in counts.to_dicts())
    return SelectionAnswers(max_tokens=plan.sampling.max_tokens, base=base, candidates=candidates)
