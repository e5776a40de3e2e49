"""The report of rounds: from the first base to the last model, as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from thickets.flows.report.plots import Plot
from thickets.flows.results.rounds import Round, Rounds
from thickets.flows.results.rounds_text import rounds_sentences
from thickets.tasks.figures.rounds import RoundPoint, rounds_curve
from thickets.tasks.results.intervals import Accuracy, Difference
from thickets.tasks.results.text import figure_name, percent


@dataclass(frozen=True, slots=True)
class RoundRow:
    """A line of the table.

    Attributes:
        found: The round.
        made: The model that it made, on the test split; None where none stood.
        over_base: What decided, on the validation split; None where nothing could be made.
        tokens_so_far: Tokens up to its end.
    """

    found: Round
    made: Accuracy | None
    over_base: Difference | None
    tokens_so_far: int


@dataclass(frozen=True, slots=True)
class RoundsReport:
    """Everything on the page.

    Attributes:
        found: The rounds.
        rows: A line per round.
        headline: The first sentence.
        sentences: The others.
        plot: The curve.
        figure: What the figures of accuracy are: accuracy or mean score.
        command: Writes the page again.
    """

    template: ClassVar[str] = "rounds.html.jinja"

    found: Rounds
    rows: tuple[RoundRow, ...]
    headline: str
    sentences: tuple[str, ...]
    plot: Plot
    figure: str
    command: str


def collect_rounds(found: Rounds) -> RoundsReport:
    """Collect the values of the page."""
    headline, *sentences = rounds_sentences(found)
    rows = tuple(
        RoundRow(each, each.made(found.by), each.over_base(found.by), tokens)
        for each, tokens in zip(found.rounds, found.tokens_so_far, strict=True)
    )
    return RoundsReport(
        found=found,
        rows=rows,
        headline=headline,
        sentences=tuple(sentences),
        plot=rounds_plot(found),
        figure=figure_name(is_graded=any(each.base.is_graded or each.ensemble.is_graded for each in found.rounds)),
        command=f"thickets report {found.group_id}",
    )


def rounds_plot(found: Rounds) -> Plot:
    """Return the curve over the rounds."""
    points = [
        RoundPoint(tokens, each.ensemble, each.made(found.by))
        for each, tokens in zip(found.rounds, found.tokens_so_far, strict=True)
    ]
    base = found.rounds[0].base
    spoken = [f"before any round {percent(base.value)}"]
    for each, point in zip(found.rounds, points, strict=True):
        made = percent(point.single.value) if point.single else "none"
        spoken.append(
            f"round {each.number}: one model {made}, vote {percent(point.vote.value)}, "
            f"{point.tokens_so_far:,} tokens so far"
        )
    return Plot(
        "rounds",
        "By round",
        f"One model: a round’s {found.noun}, which the next one searches around. A vote costs an answer per expert.",
        f"Curves over {len(points)} rounds. {'; '.join(spoken)}.",
        partial(rounds_curve, base, points),
    )
