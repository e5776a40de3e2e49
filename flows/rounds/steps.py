"""What a round needs of the one before: its model as a checkpoint, and a population of its own around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from thickets.flows.config.distillation import DistillationConfig
from thickets.flows.config.rounds import round_key
from thickets.flows.config.run import RunConfig
from thickets.flows.models.materialize import materialize
from thickets.flows.results.runs import find_run
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home


def round_config(config: RunConfig, number: int, model: Path | None, earlier: Sequence[str] = ()) -> RunConfig:
    """Return the configuration of one round, which is an ordinary run.

    The test split stays, and so does everything else but this: noise is drawn anew, so that no candidate repeats a
    direction that is in the model already, and so are a student's training examples, which the model of the round has
    learned, and with `rounds.questions: own` selection and validation split.

    Args:
        config: With `rounds`.
        number: From 1; the first round is the run that the configuration would be without `rounds`.
        model: The checkpoint to search around; None in the first round.
        earlier: Distillations of the rounds so far, for a student that is trained from the first one's model.
    """
    assert config.rounds is not None
    if model is None:
        return config.model_copy(update={"rounds": None})
    population = config.population
    shrink = config.rounds.shrink ** (number - 1)
    own = population.model_copy(
        update={
            "seed": round_key("round", population.seed, number, 8),
            "sigmas": tuple(sigma * shrink for sigma in population.sigmas),
        }
    )
    return config.model_copy(
        update={
            "rounds": None,
            "model": str(model),
            "revision": None,
            "population": own,
            "data": config.rounds.data(config.data, number),
            "distillation": _student_of_round(config, number, earlier),
        }
    )


def merged_model(home: Home, summary: RunSummary) -> Path:
    """Return the run's merge as a checkpoint in the home, written once."""
    folder = home.root / "models" / f"{summary.run_id}-merge"
    if not folder.is_dir():
        materialize(home, find_run(home, summary.run_id), "merge", folder)
    return folder


def _student_of_round(config: RunConfig, number: int, earlier: Sequence[str]) -> DistillationConfig | None:
    section = config.distillation
    if section is None:
        return None
    return section.model_copy(
        update={"seed": round_key("student of round", section.seed, number, 4), "earlier": tuple(earlier)}
    )
