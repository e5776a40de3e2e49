"""The candidates of a run: enrolled as they are needed, and scored on the selection split.

A pilot of the first candidates may decide the sigmas of the others, racing may drop hopeless candidates between the
blocks of the split, and a budget may end the population early (`spending.py`).
"""

from __future__ import annotations

import polars as pl

from thickets.flows.config.run import RunConfig
from thickets.flows.results.sentences import pilot_sentence
from thickets.flows.runtime.environment import log
from thickets.flows.search.scoring import Scoring
from thickets.storage.scores.database import DROPPED_SCHEMA
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.adaptive.pilot import learn_sigmas, shift
from thickets.tasks.adaptive.racing import Rule, n_needed, race_candidates
from thickets.tasks.results.pilot import Pilot
from thickets.tasks.results.racing import Race, RaceRound
from thickets.tasks.seeds import candidates_of


class Candidates:
    """The candidates of a run in their order; the sigmas behind the pilot are known once it is scored.

    Attributes:
        n_most: How many there may be.
        pilot: What the first candidates said about the sigmas; None without a pilot, and until it is scored.
    """

    def __init__(self, scoring: Scoring, even: pl.DataFrame) -> None:
        """Start with no candidate enrolled.

        Args:
            scoring: Scores the pilot; its book takes the candidates as they are enrolled.
            even: The whole population with its sigmas shared out evenly.
        """
        self._scoring = scoring
        self._section = scoring.plan.config.population.pilot
        self._population = even
        self.n_most = even.height
        self.pilot: Pilot | None = None

    def need_pilot(self, n: int) -> bool:
        """Tell whether the sigmas of the first `n` candidates depend on a pilot that is not scored yet."""
        return self._section is not None and self.pilot is None and n > self._section.candidates

    def score_pilot(self) -> None:
        """Score the pilot on the whole selection split, and share out the other candidates by what it shows.

        Without racing that costs nothing more: every candidate answers the whole selection split.
        """
        assert self._section is not None
        first = self.enrol_first(self._section.candidates)
        self._scoring.ask("selection", [None, *candidates_of(first)], label="pilot")
        self.pilot = learn_sigmas(self._scoring.book, self._section.candidates, self._section.even)
        self._population = shift(self._population, self.pilot)
        log.info(pilot_sentence(self.pilot))

    def enrol_first(self, n: int) -> pl.DataFrame:
        """Enter the first `n` candidates in the score book and return them."""
        first = self._population.head(n)
        self._scoring.book.enrol(first)
        return first


def score_first(scoring: Scoring, candidates: Candidates, n: int) -> pl.DataFrame:
    """Enrol the first `n` candidates and score them on the selection split, with their pilot before them.

    Returns:
        The candidates: candidate_id, index, seed, sigma.
    """
    if candidates.need_pilot(n):
        candidates.score_pilot()
    population = candidates.enrol_first(n)
    score_selection(scoring, population)
    return population


def score_selection(scoring: Scoring, population: pl.DataFrame) -> None:
    """Score the base on all selection questions, and the candidates on all or on as many as racing lets them have.

    A round's decision is a function of the scores of the rounds so far, so a run that is started again makes the same
    ones, whatever else is known by then.

    Args:
        scoring: Of the run; with racing, its book also takes who was dropped.
        population: Every candidate.
    """
    plan = scoring.plan
    rule = race_rule(plan.config)
    if rule is None:
        scoring.ask("selection", [None, *candidates_of(population)])
        return
    sizes = plan.block_sizes("selection")
    alive, dropped = population, pl.DataFrame(schema=DROPPED_SCHEMA)
    for block in range(len(sizes)):
        label = f"selection round {block + 1} of {len(sizes)}"
        scoring.ask("selection", [None, *candidates_of(alive)], label=label, blocks=[block])
        n_before = alive.height
        alive, dropped = race_candidates(scoring.book, alive, sizes, block + 1, rule, dropped)
        if block + 1 < len(sizes):
            log.info(f"{label}: {alive.height} of {n_before} candidates go on")


def race_rule(config: RunConfig) -> Rule | None:
    """Return the rule that drops candidates after a round; None without racing."""
    selection, racing, pilot = config.selection, config.scoring.racing, config.population.pilot
    if racing is None:
        return None
    return Rule(
        n_needed(selection.methods, selection.k_values[-1]),
        racing.z,
        racing.keep,
        n_spared=0 if pilot is None else pilot.candidates,
    )


def describe_race(config: RunConfig, scores: ScoreQueries) -> Race | None:
    """Return the rounds of a run whose selection split is scored; None without racing."""
    racing = config.scoring.racing
    if racing is None:
        return None
    rounds = tuple(
        RaceRound(n_questions=n_questions, n_candidates=n_candidates)
        for n_questions, n_candidates in scores.rounds().select("n_questions", "n_candidates").iter_rows()
    )
    return Race(z=racing.z, keep=racing.keep, rounds=rounds)
