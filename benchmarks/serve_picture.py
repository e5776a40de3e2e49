"""Draws the picture in docs/serve.md: how questions that arrive together go through the experts, and when asking stops.

    python -m benchmarks.serve_picture RUN [--home DIR] [--questions 8] [--out FILE]

The answers are real: questions of the run's test split, asked by the loop that `thickets serve` runs; one of them asks
the base.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from thickets.flows.config.run import StorageConfig
from thickets.flows.models.open import find_model
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.serve.opening import catalogue_of, parts_for
from thickets.storage.home import Home
from thickets.tasks.engines import build_engine
from thickets.tasks.problems.consensus import consensus_of
from thickets.tasks.serving import Voter
from thickets.tasks.serving.questions import Outcome, Question
from thickets.tasks.serving.walk import Walk
from thickets.tasks.types import Example, Weights

TARGET = Path("docs/serve.png")
INK, FAINT, WON, LOST, PAPER = "#1f2933", "#616e7c", "#2f7d6b", "#b45f06", "#ffffff"
LEFT, CELL, RIGHT = 4.9, 1.25, 2.5
"""Widths of the questions, of a column and of the votes; a row is 1 high."""


class Loads:
    """An engine that remembers what it was given, and how many questions it was then asked."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.order: list[Weights | None] = []
        self.n_asked: list[int] = []

    def load(self, weights: Weights | None) -> None:
        self._engine.load(weights)
        self.order.append(weights)
        self.n_asked.append(0)

    def generate(self, prompts: Sequence[Any], sampling: Any) -> Any:
        self.n_asked[-1] += len(prompts)
        return self._engine.generate(prompts, sampling)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def main() -> None:
    """Ask, and draw what happened."""
    parser = argparse.ArgumentParser(description="Draw how questions go through the experts.")
    parser.add_argument("run")
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--out", type=Path, default=TARGET, help=f"where to ({TARGET})")
    options = parser.parse_args()
    home = Home(options.home or StorageConfig().home)
    texts = read_questions(home, options.run, options.questions)
    draw(texts, *ask(home, options.run, texts), options.out)


def read_questions(home: Home, run: str, count: int) -> list[str]:
    """Return the first questions of the run's test split."""
    with open_scores(home, find_run(home, run)) as scores:
        return list(scores.questions("test")["question"].to_list()[:count])


def ask(home: Home, run: str, texts: Sequence[str]) -> tuple[list[Outcome], Loads, tuple[Voter, ...]]:
    """Ask the last question of the base and all others of the ensemble, in one walk."""
    found = find_model(home, run)
    parts, voters = parts_for(found, "cpu"), catalogue_of(home, found, run).voters
    problem = parts.judge.problem
    questions = {}
    for place, text in enumerate(texts):
        example = Example(str(place), text, "")
        prompt = parts.template.render(problem.messages(example))
        who = voters if place < len(texts) - 1 else (Voter(None),)
        questions[place] = Question(prompt, example, who, parts.sampling, consensus_of(problem))
    engine, outcomes = Loads(build_engine(parts.spec)), dict[int, Outcome]()
    try:
        Walk[int](engine, parts.judge, None, on_done=outcomes.__setitem__).run(questions)
    finally:
        engine.close()
    return [outcomes[place] for place in questions], engine, voters


def draw(texts: Sequence[str], outcomes: Sequence[Outcome], loads: Loads, voters: Sequence[Voter], out: Path) -> None:
    """Write the picture: a row per question, a column per load from left to right."""
    n, width = len(texts), LEFT + CELL * len(loads.order) + RIGHT
    figure, axes = plt.subplots(figsize=(width, 0.62 * (n + 3.4)), dpi=100)
    axes.set(xlim=(0, width), ylim=(n + 1.2, -2.2))
    axes.axis("off")
    ranks = {voter.weights: place for place, voter in enumerate(voters)}
    heading, remark = {"fontsize": 12, "color": INK, "va": "center"}, {"fontsize": 11, "color": FAINT, "va": "center"}
    axes.text(0.1, -0.95, "Questions that wait", weight="bold", **heading)
    for column, weights in enumerate(loads.order):
        middle = LEFT + CELL * (column + 0.5)
        name = "base" if weights is None else f"expert {ranks[weights] + 1}"
        axes.text(middle, -0.95, name, ha="center", weight="bold", **heading)
        axes.text(
            middle, n + 0.35, f"{loads.n_asked[column]} asked", ha="center", fontsize=11, color=FAINT, va="center"
        )
    axes.text(width - RIGHT + 0.2, -0.95, "Answer", weight="bold", **heading)
    end = LEFT + CELL * len(loads.order)
    axes.annotate("", (end, -1.5), (LEFT, -1.5), arrowprops={"arrowstyle": "->", "color": FAINT, "lw": 1.5})
    axes.text(LEFT, -1.8, "loaded one after the other, each once for all that need it", **remark)
    for row, (text, outcome) in enumerate(zip(texts, outcomes, strict=True)):
        is_base = row == n - 1
        axes.text(0.1, row, short(text), **heading)
        for column, weights in enumerate(loads.order):
            place = 0 if is_base and weights is None else -1 if is_base else ranks.get(weights, -1)
            middle = LEFT + CELL * (column + 0.5)
            if 0 <= place < len(outcome.ballots):
                cell(axes, middle, row, outcome.ballots[place], outcome.answer)
            else:
                axes.plot(middle, row, marker="o", markersize=2.5, color=FAINT)
        axes.text(
            width - RIGHT + 0.2, row, said(outcome, len(voters), is_base=is_base), fontsize=12, color=INK, va="center"
        )
    axes.text(0.1, n + 0.75, "Green: the answer that won. Brown: another. A dot: not asked.", **remark)
    figure.subplots_adjust(0, 0, 1, 1)
    figure.savefig(out, facecolor=PAPER)
    plt.close(figure)
    Image.open(out).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size >> 10} kB")


def cell(axes: Any, x: float, y: float, answer: str | None, winner: str | None) -> None:
    """Draw one expert's answer."""
    colour = FAINT if answer is None else WON if answer == winner else LOST
    box = FancyBboxPatch(
        (x - 0.52, y - 0.34), 1.04, 0.68, boxstyle="round,pad=0,rounding_size=0.16", color=colour, lw=0
    )
    axes.add_patch(box)
    axes.text(x, y, "none" if answer is None else answer[:8], ha="center", va="center", fontsize=12, color=PAPER)


def short(text: str) -> str:
    """Return a question in the width of its column."""
    line = " ".join(text.split())
    return line if len(line) <= 46 else f"{line[:44]}..."


def said(outcome: Outcome, k: int, *, is_base: bool) -> str:
    """Return an answer and who was asked for it."""
    answer = "none" if outcome.answer is None else outcome.answer[:8]
    return f"{answer}  (base alone)" if is_base else f"{answer}  ({len(outcome.ballots)} of {k} asked)"


if __name__ == "__main__":
    main()
