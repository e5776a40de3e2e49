"""What a round needs of the one before: its model as a checkpoint, and a population of its own around it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from thickets.flows.config.run import RunConfig
from thickets.flows.models.materialize import materialize
from thickets.flows.results.rounds import Round
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.results.evaluation import Difference
from thickets.tasks.statistics import paired_difference, shares


def round_config(config: RunConfig, number: int, model: Path | None) -> RunConfig:
    """Return the configuration of one round, which is an ordinary run.

    Splits and everything else stay; noise is drawn anew, so that no candidate repeats a direction that is in the model
    already.

    Args:
        config: With `rounds`.
        number: From 1; the first round is the run that the configuration would be without `rounds`.
        model: The checkpoint to search around; None in the first round.
    """
    assert config.rounds is not None
    if model is None:
        return config.model_copy(update={"rounds": None})
    population = config.population
    shrink = config.rounds.shrink ** (number - 1)
    key = hashlib.blake2b(f"thickets round 1:{population.seed}:{number}".encode(), digest_size=8).digest()
    own = population.model_copy(
        update={"seed": int.from_bytes(key, "little"), "sigmas": tuple(sigma * shrink for sigma in population.sigmas)}
    )
    return config.model_copy(update={"rounds": None, "model": str(model), "revision": None, "population": own})


def merged_model(home: Home, summary: RunSummary) -> Path:
    """Return the run's merge as a checkpoint in the home, written once."""
    folder = home.root / "models" / f"{summary.run_id}-merge"
    if not folder.is_dir():
        materialize(home, find_run(home, summary.run_id), "merge", folder)
    return folder


def describe_round(number: int, summary: RunSummary) -> Round:
    """Return what is told of a round."""
    found = summary.evaluation
    merge = next((control.accuracy for control in found.controls if control.name == "merge"), None)
    cost = summary.full_cost.of("merge") if summary.full_cost else None
    return Round(
        number=number,
        run_id=summary.run_id,
        model=summary.model,
        base=found.base,
        ensemble=found.ensemble,
        merge=merge,
        validation=summary.merge,
        n_tokens=sum(summary.n_tokens.values()),
        wall_s=summary.wall_s,
        get=cost.get if cost else None,
    )


def last_minus_first(home: Home, first: RunSummary, last: RunSummary) -> Difference:
    """Compare the last merge with the first base, question by question of the test split."""
    assert last.merge is not None
    with open_scores(home, find_run(home, first.run_id)) as scores:
        base = scores.answers("test", [BASE_ID])
    with open_scores(home, find_run(home, last.run_id)) as scores:
        merge = scores.answers("test", [last.merge.chosen.id])
    assert base["example_id"].equals(merge["example_id"])  # one configuration, so one split
    return paired_difference(shares(merge), shares(base))
