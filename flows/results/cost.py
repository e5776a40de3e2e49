"""What the search of a finished run has cost, for whatever is to cost the same."""

from __future__ import annotations

from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.tasks.results.cost import Cost


def search_cost(summary: RunSummary) -> Cost:
    """Return what a run took to find its ensemble: the selection and validation splits, and learning the limit.

    Controls, merges and the test split are no part of it.

    Raises:
        InputError: The run is of a version that did not count it.
    """
    if (found := summary.full_cost) is None:
        raise InputError(
            f"RUN: {summary.run_id} is of a version that did not count what its search took; run its configuration "
            f"again ({summary.folder / 'config.yaml'}): its answers are kept, and none is generated twice"
        )
    return found.search
