"""Rounds as a table and sentences, for the terminal, Markdown and the report."""

from __future__ import annotations

from thickets.flows.results.rounds import Rounds
from thickets.tasks.results.text import amount, markdown_table, percent, points


def rounds_columns(found: Rounds) -> tuple[str, ...]:
    """Return the headings of `rounds_rows`."""
    made = found.noun
    return (
        "round",
        "run",
        "around",
        "vote",
        made,
        f"{made} over its base, validation",
        "tokens",
        "tokens to get, in all",
    )


def rounds_rows(found: Rounds) -> list[tuple[str, ...]]:
    """Return a row per round: accuracies on the test split, and the difference that decided on validation."""
    rows: list[tuple[str, ...]] = []
    for each in found.rounds:
        made, over_base, cost = each.made(found.by), each.over_base(found.by), found.cost_to_get(each.number)
        rows.append(
            (
                str(each.number),
                each.run_id,
                percent(each.base),
                percent(each.ensemble),
                percent(made) if made else "none",
                points(over_base) if over_base else "none",
                f"{each.n_tokens:,}",
                amount(cost.n_tokens) if cost else "",
            )
        )
    return rows


def rounds_sentences(found: Rounds) -> list[str]:
    """Say what came of the rounds, how the last model stands beside the vote, and why there was no further round."""
    last, difference = found.last_made, found.last_minus_first
    ended = f"{found.ended[0].upper()}{found.ended[1:]}."
    made = last.made(found.by) if last else None
    if last is None or made is None or difference is None:
        return ["No round made a model that beats the one it was made around.", ended]
    stands = "" if difference.is_clear else ", which is not distinguishable from none"
    first = (
        f"One model, without a vote: {percent(found.rounds[0].base)} before, {percent(made)} after round "
        f"{last.number}, {points(difference)} points on {difference.n} test questions{stands}."
    )
    return [first, *_beside_vote(found), ended]


def rounds_markdown(found: Rounds) -> str:
    """Return table and sentences as Markdown."""
    return "\n\n".join([markdown_table(rounds_columns(found), rounds_rows(found)), *rounds_sentences(found)])


def _beside_vote(found: Rounds) -> list[str]:
    """Compare the last model with the vote of its own round, which costs an answer per expert."""
    last, gap = found.last_made, found.last_minus_ensemble
    if last is None or gap is None:
        return []
    how = "is not distinguishable from" if not gap.is_clear else "stands above" if gap.value > 0 else "stays below"
    return [
        f"With one answer it {how} the vote of the experts of round {last.number}, {percent(last.ensemble)}: "
        f"{points(gap)} points."
    ]
