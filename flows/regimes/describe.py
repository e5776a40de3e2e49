"""What is told of each model, from the summary of its run."""

from __future__ import annotations

from collections.abc import Sequence

from thickets.flows.regimes.members import Member
from thickets.flows.results.summary import RunSummary
from thickets.tasks.results.regimes import MARGIN_POINTS, Regime, Regimes


def describe_regimes(group_id: str, members: Sequence[Member], summaries: Sequence[RunSummary]) -> Regimes:
    """Put the models in order: the floor first, then by number of parameters, then as they were named.

    Args:
        group_id: Of the group.
        members: The models.
        summaries: One per model.
    """
    models = [_regime(member, summary) for member, summary in zip(members, summaries, strict=True)]
    models.sort(key=lambda each: (not each.is_floor, each.n_parameters))
    return Regimes(group_id=group_id, problem=summaries[0].problem, margin_points=MARGIN_POINTS, models=tuple(models))


def _regime(member: Member, summary: RunSummary) -> Regime:
    found = summary.evaluation
    return Regime(
        run_id=summary.run_id,
        name=member.name,
        model=summary.model,
        model_sha256=summary.model_sha256,
        is_floor=member.is_floor,
        n_parameters=member.base.n_parameters,
        prompt_form=member.prompt_form,
        tokenizer=member.tokenizer,
        base_selection=summary.base_selection,
        sigmas=summary.thicket.sigmas,
        best=summary.thicket.best,
        k=found.k,
        base=found.base,
        best_single=found.best_single,
        vote=found.ensemble,
        vote_minus_base=found.ensemble_minus_base,
        n_tokens=sum(summary.n_tokens.values()),
        cost=summary.full_cost,
    )
