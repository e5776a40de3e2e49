"""Estimates what all rounds cost, at most, from the estimate of one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from thickets.flows.config.run import RunConfig
from thickets.flows.search.estimate import Estimate, estimate
from thickets.tasks.engines.base_model import find_base_model


class EstimateOfRounds(BaseModel):
    """Cost of one round, and of all that there may be: fewer where a model does not beat its base."""

    model_config = ConfigDict(frozen=True)

    one: Estimate = Field(description="A round: the run that the configuration would be without rounds.")
    most: int = Field(description="Rounds at most.")
    n_paid_for: int | None = Field(None, description="Rounds that rounds.budget pays for, about; empty: no budget.")
    start_s: float = Field(description="Starting the engine, in every round.")
    write_s: float = Field(description="Writing a round's merge as a checkpoint; 0 where rounds distil.")
    completions: dict[str, int] = Field(description="Per split, over all rounds.")
    tokens: int
    tokens_at_most: int
    seconds: float = Field(description="Engine starts and the writing of models included, training not.")
    disk_bytes: int = Field(description="The rounds' models included.")


def estimate_rounds(config: RunConfig) -> EstimateOfRounds:
    """Estimate one round, and multiply.

    Raises:
        InputError: Something in the configuration cannot be used.
    """
    assert config.rounds is not None
    base = find_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    return of_rounds(config, estimate(config), base.size_bytes)


def of_rounds(config: RunConfig, one: Estimate, model_bytes: int) -> EstimateOfRounds:
    """Multiply.

    Args:
        config: With `rounds`.
        one: The estimate of one round.
        model_bytes: Of a checkpoint.
    """
    assert config.rounds is not None
    rounds, most = config.rounds, config.rounds.most
    start_s, write_s = one.probe.start_s, _members(config) * one.probe.load_s
    return EstimateOfRounds(
        one=one,
        most=most,
        n_paid_for=_n_paid_for(config, one, start_s + write_s),
        start_s=start_s,
        write_s=write_s,
        completions={split: most * count for split, count in one.completions.items()},
        tokens=most * one.tokens,
        tokens_at_most=most * one.tokens_at_most,
        seconds=most * (one.seconds + start_s) + (most - 1) * write_s,
        disk_bytes=most * one.disk_bytes + (most - 1 if rounds.by == "merge" else most * _arms(config)) * model_bytes,
    )


def _members(config: RunConfig) -> int:
    """Count the candidates in a merge, at most: the noise of each is made once to write it."""
    if config.rounds is None or config.rounds.by == "distill" or config.merge is None:
        return 0
    takes_all = set(config.merge.directions) != {"best"}
    return (
        config.population.size if takes_all else max(config.merge.ks(config.selection.k_values, config.population.size))
    )


def _arms(config: RunConfig) -> int:
    """Count the checkpoints of a distillation: the student's, and its controls'."""
    assert config.distillation is not None
    controls = config.distillation.controls
    return 1 + controls.rejection_sampling + controls.labels


def _n_paid_for(config: RunConfig, one: Estimate, beside_s: float) -> int | None:
    """Count the rounds within the budget; the first one is made in any case."""
    assert config.rounds is not None
    budget = config.rounds.budget
    if budget is None:
        return None
    n = budget.tokens / max(1, one.tokens) if budget.tokens else (budget.seconds or 0.0) / (one.seconds + beside_s)
    return min(config.rounds.most, max(1, int(n)))
