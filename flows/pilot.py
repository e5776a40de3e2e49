"""Who takes part in a run: the even population, or with `population.pilot` what its beginning makes of the rest."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from thickets.flows.plan import RunPlan
from thickets.flows.results.sentences import pilot_sentence
from thickets.flows.search.progress import log
from thickets.tasks.adaptive.pilot import learn_sigmas, shift
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.results.pilot import Pilot
from thickets.tasks.seeds import candidates_of


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
