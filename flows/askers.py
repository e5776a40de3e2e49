"""How many respondents each split of a run has, at most: what an estimate counts and a budget puts aside."""

from __future__ import annotations

from thickets.flows.plan import RunPlan


def askers(plan: RunPlan) -> dict[str, int]:
    """Respondents per split, at most: methods agree on many experts, and racing asks fewer.

    The test split is counted at the largest K, controls included.
    """
    config, wordings = plan.config, plan.wordings
    most_experts = config.selection.k_values[-1]
    controls, methods = config.controls, config.selection.methods
    n_panels = controls.self_consistency + controls.random_experts + bool(wordings and controls.self_consistency)
    n_tried = min(len(methods) * most_experts, config.population.size)
    best_apart = methods != ("top_k",)  # the best single expert need not vote, unless it is the top of K
    return {
        "selection": config.population.size + 1,
        "validation": n_tried + 1 + (len(wordings.others) if wordings else 0),
        "test": (1 + n_panels) * most_experts + 1 + best_apart + controls.weight_average + bool(wordings),
    }


def answers_after_selection(plan: RunPlan) -> int:
    """Answers on the validation and test splits, at most."""
    count = askers(plan)
    return sum(count[split.name] * len(split.examples) for split in plan.splits if split.name != "selection")
