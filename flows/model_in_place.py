"""The plan of another model in place of a run's base: the same blocks, prompts, judge, noise and engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from thickets.flows.plan import RunPlan, make_plan
from thickets.storage.models.base import BaseModelRef
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.problems.splits import Split


def model_in_place(
    run: RunPlan, model: BaseModelRef, scored: Iterable[Split] | None = None, dtype: DtypeName | None = None
) -> RunPlan:
    """Return a run's plan with another model in place of the base.

    Args:
        run: The run.
        model: A checkpoint of the same architecture and tokenizer.
        scored: The splits to score; None: the run's three.
        dtype: Type of the weights; None: the run's.
    """
    config = run.config
    # Neither changes an answer, and a race would want several blocks of whatever is scored.
    scoring = config.scoring.model_copy(update={"racing": None, "budget": None})
    # A rule would read all weights, and find other factors in them.
    noise = config.noise.model_copy(update={"rule": None, "scale": run.engine.perturbation.scale})
    own = {"model": str(model.path), "revision": None, "scoring": scoring, "noise": noise}
    config = config.model_copy(update=own)
    engine = run.engine if dtype is None else replace(run.engine, dtype=dtype)

    def as_in_the_run(spec: EngineSpec) -> EngineSpec:
        """Take kind, device, card, type of weights and noise from the run, whatever this machine or the model has."""
        return replace(
            spec,
            kind=engine.kind,
            device=engine.device,
            dtype=engine.dtype,
            card=engine.card,
            perturbation=engine.perturbation,
        )

    return make_plan(config, model, run.problem, run.splits, as_in_the_run, scored, run.sampling.max_tokens)
