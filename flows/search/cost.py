"""The cost of a run and of every row of its result, counted from its scores; docs/cost.md."""

from __future__ import annotations

from thickets.flows.plan import RunPlan
from thickets.flows.search.stages import Selected
from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.adaptive.token_limit import TokenLimit
from thickets.tasks.engines.parameters import count_parameters
from thickets.tasks.evaluation.controls import Controls
from thickets.tasks.evaluation.cost import AnswerCounter, Times
from thickets.tasks.results.cost import Cost, RowCost, RunCost, flops_of
from thickets.tasks.results.evaluation import ControlName
from thickets.tasks.results.merging import MergeChoice
from thickets.tasks.scoring.units import candidate_id


def run_cost(
    plan: RunPlan,
    scores: ScoreQueries,
    selected: Selected,
    controls: Controls,
    merge: MergeChoice | None,
    limit: TokenLimit | None,
    times: Times,
) -> RunCost:
    """Count what a finished run took.

    Args:
        plan: The run.
        scores: Its scores.
        selected: The choice, its experts, and the candidates that were tried.
        controls: The controls on the test split.
        merge: What merges did; None where none was tried.
        limit: The limit that was learned; None where the configuration sets it.
        times: What engines took, in all sessions.
    """
    model = plan.base.path
    parameters = count_parameters(model, trust_remote_code=plan.config.engine.trust_remote_code)
    reworded = [*controls.respondents, *controls.trials]
    count = AnswerCounter(scores, plan.blocks, plan.template, parameters.n_active, times, reworded)
    before = _of_limit(limit, count, parameters.n_active)
    ranked = before + count.of_population("selection")
    search = ranked + count.of("validation", [BASE_ID, *selected.tried["candidate_id"]])
    prompts = count.of("validation", [BASE_ID, *(who.id for who in controls.trials)])
    merged = [] if merge is None else [trial.id for trial in merge.trials]
    get: dict[ControlName, Cost] = {
        "weight_average": search,
        # Whatever merges were asked of the selection split is theirs.
        "merge": before + count.of("selection") + count.of("validation", [BASE_ID, *merged]),
        "best_prompt": prompts,
        "best_prompt_self_consistency": prompts,
    }
    n = len(plan.splits.test.examples)
    rows = [RowCost(name="chance", get=Cost(), use=Cost(), n=n)] if controls.guess is not None else []
    rows.append(RowCost(name="base", get=Cost(), use=count.of("test", [BASE_ID]), n=n))
    for panel in controls.panels:
        use = count.of("test", map(candidate_id, panel.members))
        rows.append(RowCost(name=panel.name, get=get.get(panel.name, Cost()), use=use, n=n))
    rows += [
        RowCost(name="best_single", get=ranked, use=count.of("test", [selected.best_id]), n=n),
        RowCost(name="ensemble", get=search, use=count.of("test", selected.experts["candidate_id"]), n=n),
    ]
    return RunCost(n_parameters=parameters.n, n_active=parameters.n_active, search=search, rows=tuple(rows))


def _of_limit(limit: TokenLimit | None, count: AnswerCounter, n_parameters: int) -> Cost:
    """Count the answers of the base that a limit was learned from, unless the run has them anyway; not their time."""
    if limit is None or not limit.n_extra_tokens:
        return Cost()
    n_read = count.read("selection")
    return Cost(
        n_generated=limit.n_extra_tokens,
        n_read=n_read,
        n_forward=limit.n_answers,
        flops=flops_of(n_parameters, n_read_or_generated=n_read + limit.n_extra_tokens),
    )
