"""Rounds as a table and sentences, for the terminal and for Markdown."""

from __future__ import annotations

from thickets.flows.results.rounds import Rounds
from thickets.tasks.results.text import amount, markdown_table, percent, points

COLUMNS = (
    "round",
    "run",
    "around",
    "vote",
    "merge",
    "merge over its base, validation",
    "tokens",
    "tokens to get, in all",
)


def rounds_rows(found: Rounds) -> list[tuple[str, ...]]:
    """Return a row per round: accuracies on the test split, and the difference that decided on validation."""
    return [
        (
            str(each.number),
            each.run_id,
            percent(each.base),
            percent(each.ensemble),
            percent(each.merge) if each.merge else "none",
            points(each.validation.minus_base) if each.validation else "none",
            f"{each.n_tokens:,}",
            amount(cost.n_tokens) if (cost := found.cost_to_get(each.number)) else "",
        )
        for each in found.rounds
    ]


def rounds_sentences(found: Rounds) -> list[str]:
    """Say what came of the rounds, and why there was no further one."""
    last, difference = found.last_made, found.last_minus_first
    ended = f"{found.ended[0].upper()}{found.ended[1:]}."
    if last is None or last.merge is None or difference is None:
        return ["No round made a model that beats the one it was made around.", ended]
    stands = "" if difference.is_clear else ", which is not distinguishable from none"
    return [
        f"One model, without a vote: {percent(found.rounds[0].base)} before, {percent(last.merge)} after round "
        f"{last.number}, {points(difference)} points on {difference.n} test questions{stands}.",
        ended,
    ]


def rounds_markdown(found: Rounds) -> str:
    """Return table and sentences as Markdown."""
    return "\n\n".join([markdown_table(COLUMNS, rounds_rows(found)), *rounds_sentences(found)])
