"""`rounds.budget`: whether another round would fit in, forecast from the one before."""

from __future__ import annotations

from collections.abc import Sequence

from thickets.flows.config.rounds import RoundsBudgetConfig
from thickets.flows.results.rounds import Round
from thickets.tasks.results.text import duration


def why_no_more(budget: RoundsBudgetConfig | None, rounds: Sequence[Round]) -> str | None:
    """Return why the budget pays for no further round, or None if it does.

    A round is taken to cost what the one before did. Only what the rounds have kept is looked at, so a call that is
    repeated decides as the first one did.

    Args:
        budget: Of all rounds; None: there is no limit.
        rounds: Those that were made, at least one.
    """
    if budget is None:
        return None
    if budget.tokens is not None:
        spent, last = sum(each.n_tokens for each in rounds), rounds[-1].n_tokens
        if spent + last <= budget.tokens:
            return None
        left = f"{max(0, budget.tokens - spent):,} of {budget.tokens:,} tokens are left, and the last one took {last:,}"
    else:
        assert budget.seconds is not None
        spent_s, last_s = sum(each.wall_s for each in rounds), rounds[-1].wall_s
        if spent_s + last_s <= budget.seconds:
            return None
        left = (
            f"{duration(max(0.0, budget.seconds - spent_s))} of {duration(budget.seconds)} are left, and the last one "
            f"took {duration(last_s)}"
        )
    return f"a further round does not fit into rounds.budget: {left}"
