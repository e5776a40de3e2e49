"""Draws the picture in docs/contest.md: accuracy against tokens to get, a panel per problem, a line per population.

    python -m benchmarks.contest_picture --home contest [GROUP ...] [--out docs/contest.png]

A group is what `benchmarks.contest` has made of one problem and seed, a folder in `contest/groups`; all of them if none
is named. Accuracies on the test split have 95 % intervals; faint lines are a rival's looks at its validation split.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thickets import ThicketsError
from thickets.flows.results.groups import find_group, load_rounds
from thickets.flows.results.rivals import finished_rivals
from thickets.flows.results.rounds import Rounds
from thickets.flows.results.runs import find_run, load_summary
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home
from thickets.tasks.figures.outcome import short_count
from thickets.tasks.figures.theme import (
    LABEL_SIZE,
    PNG_DPI,
    PRINT,
    TICK_SIZE,
    TITLE_SIZE,
    add_legend,
    as_percent,
    interval_bars,
)
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.rival_method import METHOD_NAMES
from thickets.tasks.results.rivals import Rival

TARGET = Path("docs/contest.png")
SIZE_IN = (10.5, 4.4)
LABELS = {"one model": "base, then one model per round", "vote": "vote of round 1"} | METHOD_NAMES
STYLES = {"one model": (0, "o"), "vote": (1, "s"), "es": (2, "^"), "grpo": (3, "D")}


@dataclass(frozen=True)
class Entrants:
    """What has been made of one problem and seed.

    Attributes:
        summary: Of the first round.
        rounds: All of them.
        rivals: Of each method the one that took the most tokens.
    """

    summary: RunSummary
    rounds: Rounds
    rivals: tuple[Rival, ...]


def main() -> None:
    """Write the picture."""
    given = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    given.add_argument("groups", nargs="*", metavar="GROUP", help="a group's id, or its unique beginning (all)")
    given.add_argument("--home", type=Path, default=Path("contest"), help="folder of the runs (contest)")
    given.add_argument("--out", type=Path, default=TARGET, help=f"where to ({TARGET})")
    options = given.parse_args()
    names = options.groups or sorted(path.parent.name for path in options.home.glob("groups/*/rounds.json"))
    if not names:
        sys.exit(f"error: no group in {options.home / 'groups'}")
    try:
        found = [entrants(Home(options.home), name) for name in names]
    except ThicketsError as error:
        sys.exit(f"error: {error}")
    picture(found).savefig(options.out)


def entrants(home: Home, name: str) -> Entrants:
    """Read one group of a home."""
    folder = find_group(home, name)
    if folder is None:
        sys.exit(f"error: GROUP: {name!r} fits no group in {home.root / 'groups'}, or several")
    rounds = load_rounds(folder)
    first = find_run(home, rounds.rounds[0].run_id)
    rivals = sorted((each.rival for each in finished_rivals(first)), key=lambda each: each.points[-1].cost.n_tokens)
    return Entrants(load_summary(first), rounds, tuple({each.method: each for each in rivals}.values()))


def picture(found: Sequence[Entrants]) -> Figure:
    """Draw a panel per problem, in the order given."""
    problems = list(dict.fromkeys(each.summary.problem for each in found))
    figure = Figure(figsize=SIZE_IN, dpi=PNG_DPI, layout="constrained", facecolor=PRINT.paper)
    panels = figure.subplots(1, len(problems), sharey=True, squeeze=False)[0]
    legend = {}
    for axes, problem in zip(panels, problems, strict=True):
        _prepare(axes, problem)
        for each in (each for each in found if each.summary.problem == problem):
            legend |= _draw(axes, each)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("accuracy on the test split", color=PRINT.muted, fontsize=LABEL_SIZE)
    panels[len(panels) // 2].set_xlabel("tokens to get", color=PRINT.muted, fontsize=LABEL_SIZE)
    add_legend(figure, PRINT, 2, {LABELS[key]: legend[key] for key in STYLES if key in legend})
    return figure


def _prepare(axes: Axes, problem: str) -> None:
    axes.set_title(problem, color=PRINT.ink, fontsize=TITLE_SIZE)
    axes.tick_params(colors=PRINT.muted, labelsize=TICK_SIZE, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PRINT.muted)
    axes.xaxis.set_major_formatter(lambda count, _: short_count(int(count)))
    as_percent(axes, PRINT)


def _draw(axes: Axes, each: Entrants) -> dict[str, object]:
    """Draw what was made of one problem and seed, and return what the legend shows, by key."""
    made = [(each.rounds.cost_to_get(one.number), one.made(each.rounds.by)) for one in each.rounds.rounds]
    line = [(0, each.rounds.rounds[0].base)]
    line += [(cost.n_tokens, score) for cost, score in made if cost is not None and score is not None]
    legend: dict[str, object] = {"one model": _plot(axes, "one model", line)}
    if (cost := each.summary.full_cost) is not None and (vote := cost.of("ensemble")) is not None:
        legend["vote"] = _plot(axes, "vote", [(vote.get.n_tokens, each.summary.evaluation.ensemble)])
    for rival in each.rivals:
        looks = [(point.cost.n_tokens, point.validation.value) for point in rival.points]
        axes.plot(*zip(*looks, strict=True), color=PRINT.color(STYLES[rival.method][0]), linewidth=0.9, alpha=0.6)
        legend[rival.method] = _plot(axes, rival.method, [(rival.cost_to_get.n_tokens, rival.test)])
    return legend


def _plot(axes: Axes, key: str, points: Sequence[tuple[int, Accuracy]]) -> object:
    index, marker = STYLES[key]
    return axes.errorbar(
        [n_tokens for n_tokens, _ in points],
        [score.value for _, score in points],
        yerr=interval_bars([score for _, score in points]),
        color=PRINT.color(index),
        marker=marker,
        markersize=5,
        elinewidth=1,
        capsize=2.5,
    )


if __name__ == "__main__":
    main()
