"""The selection split, asked of everybody at once or, with racing, in rounds that hopeless candidates drop out of."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from thickets.flows.config.run import RunConfig
from thickets.flows.plan import RunPlan
from thickets.flows.search.progress import log
from thickets.storage.scores.database import DROPPED_SCHEMA
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.adaptive.racing import Rule, n_needed, race_candidates
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.results.racing import Race, RaceRound
from thickets.tasks.seeds import candidates_of


def race_rule(config: RunConfig) -> Rule | None:
    """Who goes on after a round, as the configuration has it; None without racing."""
    selection, racing, pilot = config.selection, config.scoring.racing, config.population.pilot
    if racing is None:
        return None
    return Rule(
        n_needed(selection.methods, selection.k_values[-1]),
        racing.z,
        racing.keep,
        n_spared=0 if pilot is None else pilot.candidates,
    )


def score_selection(plan: RunPlan, book: ScoreBook, population: pl.DataFrame, score: Callable[..., None]) -> None:
    """Ask the base all selection questions, and the candidates all or as many as racing lets them.

    A round's decision is a function of the scores of the rounds so far, so a run that is started again makes the same
    ones, whatever else is known by then.

    Args:
        plan: The run.
        book: Takes the scores; with racing, also who was dropped.
        population: Every candidate.
        score: `thickets.flows.search.stages.score_split` with all but the split, the respondents and what follows them.
    """
    rule = race_rule(plan.config)
    if rule is None:
        score("selection", [None, *candidates_of(population)])
        return
    sizes = plan.block_sizes("selection")
    alive, dropped = population, pl.DataFrame(schema=DROPPED_SCHEMA)
    for block in range(len(sizes)):
        label = f"selection round {block + 1} of {len(sizes)}"
        score("selection", [None, *candidates_of(alive)], label=label, blocks=[block])
        n_before = alive.height
        alive, dropped = race_candidates(book, alive, sizes, block + 1, rule, dropped)
        if block + 1 < len(sizes):
            log.info(f"{label}: {alive.height} of {n_before} candidates go on")


def describe_race(config: RunConfig, scores: ScoreQueries) -> Race | None:
    """What racing asked and saved in a run whose selection split is scored; None without racing."""
    racing = config.scoring.racing
    if racing is None:
        return None
    rounds = tuple(
        RaceRound(n_questions=n_questions, n_candidates=n_candidates)
        for n_questions, n_candidates in scores.rounds().select("n_questions", "n_candidates").iter_rows()
    )
    return Race(z=racing.z, keep=racing.keep, rounds=rounds)
