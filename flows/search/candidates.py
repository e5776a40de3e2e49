"""The selection split, asked of everybody at once or, with racing, in rounds that hopeless candidates drop out of."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from thickets.flows.config.run import RunConfig
from thickets.flows.plan import RunPlan
from thickets.flows.results.sentences import pilot_sentence
from thickets.flows.runtime.environment import log
from thickets.storage.scores.database import DROPPED_SCHEMA
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.adaptive.pilot import learn_sigmas, shift
from thickets.tasks.adaptive.racing import Rule, n_needed, race_candidates
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.results.pilot import Pilot
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


class Candidates:
    """The candidates of a run in their order, known as far as they have to be.

    Attributes:
        n_most: How many there may be.
        pilot: What the first of them said about the sigmas; None without a pilot, and until it was asked.
    """

    def __init__(self, plan: RunPlan, book: ScoreBook, even: pl.DataFrame, score: Callable[..., None]) -> None:
        """Nothing is asked yet.

        Args:
            plan: The run.
            book: Takes the scores, and the candidates as they become known.
            even: The whole population with its sigmas shared out evenly.
            score: `stages.score_split` with all but the split, the respondents and what follows them.
        """
        self._config, self._book, self._score = plan.config.population.pilot, book, score
        self._drawn = even
        self.n_most = even.height
        self.pilot: Pilot | None = None

    def first(self, n: int) -> pl.DataFrame:
        """The first `n` candidates, who take part from now on; asks the pilot if someone comes after it.

        The pilot is asked the whole selection split, which without racing costs no answer more: whatever comes of it,
        everybody is asked all of it.
        """
        section = self._config
        if section is not None and self.pilot is None and n > section.candidates:
            beginning = self._drawn.head(section.candidates)
            self._book.enrol(beginning)
            self._score("selection", [None, *candidates_of(beginning)], label="pilot")
            self.pilot = learn_sigmas(self._book, section.candidates, section.even)
            self._drawn = shift(self._drawn, self.pilot)
            log.info(pilot_sentence(self.pilot))
        taking_part = self._drawn.head(n)
        self._book.enrol(taking_part)
        return taking_part
