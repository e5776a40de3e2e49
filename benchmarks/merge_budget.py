"""More candidates, or more questions? Merges made of parts of one table of scores, for equal numbers of answers.

    python -m benchmarks.merge_budget [--home FOLDER] [--shapes 192x32 96x64 ...] [--draws 4] [--set KEY=VALUE ...]

Every candidate of the contest's preset answers 64 questions, on a population and questions of their own (seed 100 of
both). Of that table, candidates and questions are drawn by chance; the best eighth of the candidates by these questions
alone is merged, and the merge answers the validation split.

- `same`: the questions are the same for all candidates, as in a run.
- `own`: each candidate has its own, and counts by its points above what all candidates have there.
- `mean`: of the draws, accuracy on the validation split in per cent; `low`, `high`: the worst and the best draw. These
  share candidates and questions, so they say how much depends on the draw, not how well the mean is known.

Killed, the same command goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.output import parser, show
from thickets.flows.runtime.environment import set_command_line_defaults

set_command_line_defaults()  # before Prefect is imported

from benchmarks.complete_scores import complete_scores, merge_scores  # noqa: E402
from benchmarks.selection import load  # noqa: E402
from thickets.flows.config.file import parse_config  # noqa: E402
from thickets.flows.config.run import RunConfig  # noqa: E402
from thickets.tasks.merging.directions import best, merge  # noqa: E402
from thickets.tasks.seeds import candidates_of  # noqa: E402
from thickets.tasks.types import Candidate, Merge  # noqa: E402

# With 1,536, with 3,072 and with 6,144 answers, and the whole table.
SHAPES = ("48x32", "96x16", "192x8", "48x64", "96x32", "192x16", "96x64", "192x32", "192x64")
OWN = ["data.seed=100", "population.seed=100", "data.selection=64", "data.validation=256", "data.test=1"]


@dataclass(frozen=True)
class Shape:
    """A part of the table.

    Attributes:
        n_candidates: Rows.
        n_questions: Questions that each of them answers.
        own: Whether each has questions of its own.
    """

    n_candidates: int
    n_questions: int
    own: bool

    @property
    def label(self) -> str:
        return f"{self.n_candidates} candidates, {self.n_questions} questions, {'own' if self.own else 'same'}"


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--home", type=Path, default=Path("thickets-data/complete-scores"))
    options_parser.add_argument("--shapes", nargs="+", default=list(SHAPES), metavar="CANDIDATESxQUESTIONS")
    options_parser.add_argument("--draws", type=int, default=4)
    options_parser.add_argument("--radius", type=float, default=1.5)
    options_parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="as of `thickets run`")
    options = options_parser.parse_args()
    config = without_rounds(load("contest", [*OWN, *options.set, f"storage.home={options.home}"]))
    table = complete_scores(config, ["selection"])
    candidates, correct = candidates_of(table.population), table.correct[1:]
    shapes = [shape for text in options.shapes for shape in parts(text, correct.shape[1])]
    merges = {
        shape: [
            merged(candidates, correct, shape, options.radius, np.random.default_rng([draw, shape.n_questions]))
            for draw in range(1 if correct.shape == (shape.n_candidates, shape.n_questions) else options.draws)
        ]
        for shape in shapes
    }
    right = merge_scores(config, "validation", [made for several in merges.values() for made in several])
    shares = iter(100 * float(np.mean(each)) for each in right)
    rows = {shape.label: row(shape, [next(shares) for _ in several]) for shape, several in merges.items()}
    show(f"merges of the best eighth at radius {options.radius:g}", rows, options.json)


def without_rounds(config: RunConfig) -> RunConfig:
    """Return the configuration of one search that makes no merge of its own."""
    values = config.model_dump(mode="json", exclude_unset=True)
    return parse_config({name: value for name, value in values.items() if name not in ("rounds", "merge")})


def parts(text: str, n_questions: int) -> Iterator[Shape]:
    """Read ``192x32``; whoever answers all questions has none of its own."""
    candidates, _, questions = text.partition("x")
    yield Shape(int(candidates), int(questions), own=False)
    if int(questions) < n_questions:
        yield Shape(int(candidates), int(questions), own=True)


def merged(
    candidates: list[Candidate], correct: NDArray[np.bool_], shape: Shape, radius: float, rng: np.random.Generator
) -> Merge:
    """Draw candidates and questions, and merge the best eighth of the candidates."""
    who = np.sort(rng.permutation(len(candidates))[: shape.n_candidates])
    points = correct[who].astype(float)
    n_questions = points.shape[1]
    if shape.own:
        points -= points.mean(axis=0)
        scores = [row[rng.permutation(n_questions)[: shape.n_questions]].mean() for row in points]
    else:
        scores = points[:, rng.permutation(n_questions)[: shape.n_questions]].mean(axis=1).tolist()
    return merge([candidates[i] for i in who], best(scores, shape.n_candidates // 8), radius)


def row(shape: Shape, shares: list[float]) -> dict[str, Any]:
    """Make a row of the table."""
    return {
        "answers": shape.n_candidates * shape.n_questions,
        "mean": f"{np.mean(shares):.1f}",
        "low": f"{min(shares):.1f}",
        "high": f"{max(shares):.1f}",
        "draws": len(shares),
    }


if __name__ == "__main__":
    main()
