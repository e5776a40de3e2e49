"""A finished run as MLflow is told of it: while it ends, and later from its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thickets.flows.config.file import load_config
from thickets.flows.config.run import RunConfig
from thickets.flows.publish.record import TrackingRecord
from thickets.flows.results.runs import load_summary, open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home, RunFolder
from thickets.storage.scores.queries import ScoreQueries


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a finished run is logged from.

    Attributes:
        folder: Its folder.
        config: Its configuration.
        record: Where MLflow keeps it, and what MLflow is told that no other file says.
        summary: Its result.
        open_scores: Opens its scores, for a ``with`` statement.
    """

    folder: RunFolder
    config: RunConfig
    record: TrackingRecord
    summary: RunSummary
    open_scores: Callable[[], ScoreQueries]


def load_finished(home: Home, folder: RunFolder) -> FinishedRun:
    """Load a finished run from its folder.

    Raises:
        InputError: It is not finished, or an earlier version has left it.
    """
    summary, record = load_summary(folder), TrackingRecord.load(folder)
    return FinishedRun(folder, load_config(str(folder.config)), record, summary, lambda: open_scores(home, folder))
