"""The merging stage of a search: merges answer the validation split, and the best one stands if it beats the base."""

from __future__ import annotations

from dataclasses import dataclass

from thickets.flows.config.merge import MergeConfig
from thickets.flows.runtime.environment import log
from thickets.flows.search.scoring import Scoring
from thickets.tasks.merging.choice import choose_merge
from thickets.tasks.merging.trials import Trial, plan_trials
from thickets.tasks.results.merging import MergeChoice


@dataclass(frozen=True, slots=True)
class Merged:
    """The merges of a run.

    Attributes:
        choice: Their scores on the validation split.
        trial: The one that beats the base there; None: none does.
    """

    choice: MergeChoice
    trial: Trial | None


def merge_candidates(scoring: Scoring, config: MergeConfig) -> Merged | None:
    """Try the merges that a configuration names on the validation split.

    Args:
        scoring: Of the run; its book has the scores of the selection split, and the base's on validation.
        config: Which merges.

    Returns:
        None where there is none to be tried: all candidates of every sigma score the same.
    """
    book, k_values = scoring.book, config.k or scoring.plan.config.selection.k_values
    with book.open() as store:
        board, scored = store.leaderboard("selection", limit=max(k_values)), store.common_scores("selection")
    trials = plan_trials(board, scored, config.directions, k_values, config.radii)
    if not trials:
        log.warning("merge: every candidate scores the same on the selection split; there is nothing to weigh")
        return None
    models = [trial.merge for trial in trials]
    book.register(models)
    scoring.ask("validation", models, label="merges")
    choice = choose_merge(book, trials)
    stands = choice.is_accepted
    log.info(f"{choice.chosen.label}: {'chosen' if stands else 'not clearly above the base'} on the validation split")
    return Merged(choice, trials[choice.best] if stands else None)
