"""`scoring.budget`: scores as many candidates as the tokens or the minutes pay for.

Tokens are counted in the score database, so the same answers always pay for the same candidates, whoever generated
them and when. Minutes are those of this machine: what was decided is kept in the run's folder, and a run that is
started again goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import polars as pl
from pydantic import BaseModel, ConfigDict

from thickets.flows.plan import RunPlan, answers_after_selection
from thickets.flows.results.summary import BudgetUse
from thickets.flows.runtime.environment import log
from thickets.flows.search.candidates import Candidates, score_first
from thickets.flows.search.forecast import WRAP_UP_S
from thickets.flows.search.progress import ScoringProgress
from thickets.flows.search.scoring import Scoring
from thickets.storage.errors import RunError
from thickets.storage.files import write_text_atomically
from thickets.storage.home import RunFolder
from thickets.tasks.adaptive.budget import Need, affordable, next_wave
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.scoring.worker import SHARDS_PER_ENGINE

# Candidates of a wave at least: two shards of the default size for two engines.
_TOKEN_WAVE = 16


class Ledger(BaseModel):
    """The decisions that the run's folder keeps.

    Attributes:
        n_candidates: Scored, or about to be: written before they are scored, so that a killed run goes on with them.
        seconds: Spent in all sessions until then.
        is_final: Whether no more will be scored.
    """

    model_config = ConfigDict(frozen=True)

    n_candidates: int = 0
    seconds: float = 0.0
    is_final: bool = False


class Meter(Protocol):
    """Measures cost in the unit of the budget.

    Attributes:
        budget: What there is to spend.
        fixed: What the end of a run costs without any answer.
    """

    budget: float
    fixed: float

    def spent(self) -> float:
        """Return the cost of the run so far."""

    def per_answer(self) -> float:
        """Return the cost of an answer; 0 if none was generated yet."""

    def say(self, amount: float) -> str:
        """Write an amount with its unit."""


class TokenMeter:
    """Counts tokens generated for the selection split, base included, and for the learned limit before it."""

    fixed = 0.0

    def __init__(self, budget: float, book: ScoreBook, n_before: int) -> None:
        self.budget, self._book, self._n_before = budget, book, n_before

    def spent(self) -> float:
        """See `Meter.spent`."""
        return self._n_before + self._count()[1]

    def per_answer(self) -> float:
        """See `Meter.per_answer`."""
        n_answers, n_tokens = self._count()
        return n_tokens / n_answers if n_answers else 0.0

    def say(self, amount: float) -> str:
        """See `Meter.say`."""
        return f"{amount:,.0f} tokens"

    def _count(self) -> tuple[int, int]:
        with self._book.open() as store:
            return store.spent("selection")


class ClockMeter:
    """Counts seconds since the run was started, those of earlier sessions included."""

    fixed = WRAP_UP_S

    def __init__(self, budget: float, progress: ScoringProgress, earlier_s: float, started: float) -> None:
        self.budget, self._progress, self._earlier_s, self._started = budget, progress, earlier_s, started

    def spent(self) -> float:
        """See `Meter.spent`."""
        return self._earlier_s + time.monotonic() - self._started

    def per_answer(self) -> float:
        """See `Meter.per_answer`; what another run has left costs nothing and is not counted."""
        use = self._progress.engine
        if not use.n_answers:
            return 0.0
        return (use.scoring_s - use.start_s / max(use.n_engines, 1)) / use.n_answers

    def say(self, amount: float) -> str:
        """See `Meter.say`."""
        return f"{amount / 60:.1f} minutes"


def make_meter(
    plan: RunPlan,
    book: ScoreBook,
    folder: RunFolder,
    progress: ScoringProgress,
    started: float,
    n_tokens_before: int = 0,
) -> Meter | None:
    """Return the meter for the plan's budget, or None.

    Args:
        plan: The run.
        book: Its scores.
        folder: Its folder.
        progress: Counts what the engines of this session do.
        started: Start of the session by the monotonic clock.
        n_tokens_before: Tokens generated before the first score, to learn `decoding.max_tokens`.
    """
    if (budget := plan.config.scoring.budget) is None:
        return None
    if budget.tokens is not None:
        return TokenMeter(budget.tokens, book, n_tokens_before)
    assert budget.minutes is not None
    return ClockMeter(60.0 * budget.minutes, progress, read_ledger(folder).seconds, started)


def score_affordable(scoring: Scoring, candidates: Candidates, folder: RunFolder, meter: Meter) -> pl.DataFrame:
    """Score the selection split for as many candidates as the budget pays for.

    Args:
        scoring: Of a run with a budget.
        candidates: Every candidate there may be; those that the budget pays for are enrolled.
        folder: Keeps the decisions.
        meter: Measures what is spent.

    Returns:
        The candidates that were scored: the beginning of the population.

    Raises:
        RunError: The budget does not pay for the smallest run.
    """
    config = scoring.plan.config
    least, budget = config.selection.k_values[-1], config.scoring.budget
    assert budget is not None
    # Tokens pay for the same candidates however the work is cut and on whatever machines; minutes are this machine's.
    n_slots = SHARDS_PER_ENGINE * scoring.executor.n_engines
    at_once = max(least, _TOKEN_WAVE if budget.tokens else n_slots * config.scoring.candidates_per_shard)
    ledger = read_ledger(folder)
    if ledger.n_candidates == 0:
        scoring.ask("selection", [None], label="base")
        need = _need(scoring, meter)
        if (n_affordable := affordable(meter.budget, meter.spent(), need)) < least:
            raise RunError(_too_small(meter, need, least))
        ledger = Ledger(n_candidates=min(at_once, n_affordable, candidates.n_most))
    while True:
        _keep(folder, ledger, meter)
        population = score_first(scoring, candidates, ledger.n_candidates)
        if ledger.is_final:
            break
        n_affordable = affordable(meter.budget, meter.spent(), _need(scoring, meter))
        wave = next_wave(ledger.n_candidates, candidates.n_most, n_affordable, at_once)
        ledger = Ledger(n_candidates=ledger.n_candidates + wave, is_final=wave == 0)
        if ledger.is_final:  # all of them are scored
            _keep(folder, ledger, meter)
            break
    log.info(f"the budget pays for {population.height:,} of {candidates.n_most:,} candidates")
    return population


def read_ledger(folder: RunFolder) -> Ledger:
    """Return the decisions of earlier sessions."""
    return Ledger.model_validate_json(folder.budget.read_text()) if folder.budget.is_file() else Ledger()


@contextmanager
def session_timed(folder: RunFolder, meter: Meter | None) -> Iterator[None]:
    """Add the session's time to the ledger however the session ends; a SIGKILL loses what followed the last wave."""
    try:
        yield
    finally:
        if meter is not None:
            _keep(folder, read_ledger(folder), meter)


def budget_use(meter: Meter, n_most: int) -> BudgetUse:
    """Describe the budget for the summary.

    Args:
        meter: Of the budget.
        n_most: Candidates there might have been.
    """
    return BudgetUse(given=meter.say(meter.budget), n_most=n_most)


def _keep(folder: RunFolder, ledger: Ledger, meter: Meter) -> None:
    timed = ledger.model_copy(update={"seconds": meter.spent()}) if isinstance(meter, ClockMeter) else ledger
    write_text_atomically(folder.budget, timed.model_dump_json() + "\n")


def _need(scoring: Scoring, meter: Meter) -> Need:
    plan = scoring.plan
    with scoring.book.open() as store:
        totals = store.totals("selection").row(0, named=True)
    n_questions = sum(plan.block_sizes("selection"))
    each = totals["n_answers"] / totals["n_candidates"] if totals["n_candidates"] else n_questions
    return Need(meter.per_answer(), each, answers_after_selection(plan), meter.fixed)


def _too_small(meter: Meter, need: Need, least: int) -> str:
    enough = meter.spent() + need.later + least * need.per_candidate
    return (
        f"scoring.budget: {meter.say(meter.budget)} do not pay for the smallest run, which is {least} candidates (the "
        f"largest of selection.k_values), validation, test and controls: about {meter.say(enough)}; raise it, or lower "
        "selection.k_values, the splits or the controls"
    )
