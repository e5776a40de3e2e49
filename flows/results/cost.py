"""What the search of a finished run has cost, for whatever is to cost the same; costs as metrics and in words."""

from __future__ import annotations

from collections.abc import Iterable

from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.tasks.results.cost import Cost, RowCost
from thickets.tasks.results.text import amount, duration


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


def cost_metrics(rows: Iterable[RowCost]) -> dict[str, float]:
    """Return what rows took to get, and take to use for one question, as metrics: ``cost.ensemble.get_tokens``."""
    metrics: dict[str, float] = {}
    for row in rows:
        mine = f"cost.{row.name}"
        metrics |= {
            f"{mine}.get_tokens": row.get.n_tokens,
            f"{mine}.get_generated": row.get.n_generated,
            f"{mine}.get_flops": row.get.flops,
            f"{mine}.get_s": row.get.engine_s,
            f"{mine}.use_tokens": row.use_tokens,
            f"{mine}.use_generated": row.use.n_generated / row.n,
            f"{mine}.use_flops": row.use_flops,
            f"{mine}.use_s": row.use.engine_s / row.n,
        }
    return metrics


def in_words(cost: Cost) -> str:
    """Write a cost in words: ``1.20 M tokens (300 k generated, 900 k read), 320 TFLOP, 12 min 05 s of engines``."""
    parts = {"generated": cost.n_generated, "read": cost.n_read, "trained on": cost.n_trained}
    tokens = ", ".join(f"{amount(count)} {what}" for what, count in parts.items() if count)
    seconds = f", {duration(cost.engine_s)} of engines" if cost.engine_s else ""
    return f"{amount(cost.n_tokens)} tokens ({tokens or 'none'}), {amount(cost.flops)}FLOP{seconds}"


def cost_sentence(summary: RunSummary) -> str | None:
    """Say what the ensemble took to get and takes to use; None in runs of versions that did not count it."""
    cost = summary.full_cost
    ensemble, base = (None, None) if cost is None else (cost.of("ensemble"), cost.of("base"))
    if ensemble is None or base is None:
        return None
    times = f", {ensemble.use_tokens / base.use_tokens:.1f} times the base's" if base.use_tokens else ""
    return (
        f"The ensemble took {in_words(ensemble.get)} to get; a question takes it {amount(ensemble.use_tokens)} tokens "
        f"and {amount(ensemble.use_flops)}FLOP{times}."
    )
