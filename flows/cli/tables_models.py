"""Terminal tables and JSON of `thickets ask` and `thickets evaluate`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from thickets.flows.models.reevaluation import Reevaluation
from thickets.tasks.results.text import OVER_BASE_HEADING, accuracy_heading, percent, points
from thickets.tasks.serving import Answers


def answer_json(found: Answers) -> dict[str, Any]:
    """Return the answer to the one question, as plain values."""
    [row] = found.rows
    return {
        "answer": row.answer,
        "margin": row.margin,
        "k": found.k,
        "n_votes": row.n_votes,
        "n_asked": row.n_asked,
        "saved": found.saved,
        "n_tokens": row.n_tokens,
        "votes": list(row.ballots),
        **({} if row.similarity is None else {"similarity": row.similarity}),
    }


def answer_table(found: Answers, *, votes: bool) -> Group:
    """Return the vote on the one question: answers with their number of experts, or every expert's answer.

    What a model wrote is shown as it is; nothing in it is taken for markup.
    """
    [row] = found.rows
    title = f"{row.n_asked} of {found.k} experts asked, lead {percent(row.margin, 0)} of all votes"
    if row.similarity is not None:
        title = (
            f"{row.n_asked} of {found.k} experts asked; the text that is closest to the others, similar to them by "
            f"{percent(row.similarity, 0)} on average"
        )
    if row.n_asked < found.k:
        title += f"; the others could not have changed the answer ({percent(found.saved, 0)} of the calls saved)"
    table = Table()
    if votes:
        table.add_column("expert", justify="right")
        table.add_column("answer")
        for rank, ballot in enumerate(row.ballots, start=1):
            table.add_row(str(rank), _answer(ballot))
        return Group(title, table)
    table.add_column("answer")
    is_counted = row.similarity is None  # texts are compared
    if is_counted:
        table.add_column("experts", justify="right")
    for ballot, count in Counter(row.ballots).most_common():
        cells = [_answer(ballot), Text(str(count))]
        style = "bold" if ballot is not None and ballot == row.answer else ""
        table.add_row(*cells[: 2 if is_counted else 1], style=style)
    return Group(title, table)


def reevaluation_table(found: Reevaluation) -> Table:
    """Return the accuracy on the file, with that of the base if it was evaluated."""
    table = Table(title=f"{found.model} on {found.data} ({found.accuracy.n} questions)", title_justify="left")
    table.add_column("")
    table.add_column(accuracy_heading(each for each in (found.accuracy, found.base) if each), justify="right")
    table.add_column("correct", justify="right")
    table.add_column(OVER_BASE_HEADING, justify="right")
    if found.base:
        table.add_row("base", percent(found.base), f"{found.base.n_correct}/{found.base.n}", "")
    who = "model" if found.k == 1 else f"vote of {found.k}, {percent(found.saved, 0)} of the expert calls saved"
    gap = points(found.over_base) if found.over_base else ""
    table.add_row(who, percent(found.accuracy), f"{found.accuracy.n_correct}/{found.accuracy.n}", gap)
    return table


def _answer(ballot: str | None) -> Text:
    return Text("(none)", style="dim") if ballot is None else Text(ballot)
