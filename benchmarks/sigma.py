"""What a pilot gains over an even split of the sigmas at equal cost: replays both on tables with all the answers.

    python -m benchmarks.sigma                             # made tables, the truth known
    python -m benchmarks.sigma --size 200 --k 10           # a small search
    python -m benchmarks.sigma signals [--set model=signals-needle]   # and complete tables (see benchmarks.selection)

A draw deals the questions anew (selection split as large as the preset's, all others test the vote) and draws a run's
candidates from those of the table, so that the even split and every pilot share as many of them as they can. The first
row is the even split itself, all others are differences to it, in points.

- `experts`: mean accuracy of the K experts (the true one, or on the other questions); `vote`: that of their majority
  vote on the other questions; each with the standard error of its mean over the draws. `worst`: the least of `experts`.
- `share N`: per cent of all candidates that have the N-th smallest sigma.
- *pilot n, even e*: `population.pilot` with these values. *on q questions*: the pilot decides after so many. *only N*:
  all candidates have the N-th sigma, which no run can know beforehand.
- *raced*: racing as `scoring: {racing: {}}` in four rounds, against the even split that is raced too. `answers` are
  the selection answers, the even split's being 100: a pilot's population ends where it would need more than these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.output import parser, show
from thickets.flows.runtime.environment import set_command_line_defaults

set_command_line_defaults()  # before Prefect is imported

from benchmarks.complete_scores import complete_scores  # noqa: E402
from benchmarks.replay import Indices, ScoreTable, ballots  # noqa: E402
from benchmarks.selection import load, pool  # noqa: E402
from benchmarks.synthetic_scores import SITUATIONS, Situation, synthetic_scores  # noqa: E402
from thickets.tasks.adaptive.pilot import learn, spread_out  # noqa: E402
from thickets.tasks.adaptive.racing import Rule, go_on  # noqa: E402
from thickets.tasks.evaluation.voting import vote  # noqa: E402
from thickets.tasks.selection.ranking import plain  # noqa: E402
from thickets.tasks.types import FULL  # noqa: E402

# Made up: what someone sees who does not know the scale of the noise, and lists several.
MADE = SITUATIONS | {
    "six sigmas": Situation((0.50, 0.50, 0.49, 0.46, 0.38, 0.20), (0.005, 0.01, 0.025, 0.05, 0.08, 0.08)),
    "one of three dead": Situation((0.50, 0.47, 0.02), (0.02, 0.05, 0.005)),
}
PER_SIGMA = (6, 12, 20, 40)
EVEN = (0.0, 0.1, 0.3)
DEFAULT_PER_SIGMA, DEFAULT_EVEN = 20, 0.1
Z, ROUNDS = 1.64, 4


@dataclass(frozen=True)
class Draw:
    """Candidates to draw from, and questions.

    Attributes:
        table: Answers of every candidate to every question.
        by_sigma: Rows of the table's population in the order in which they are drawn, one array per sigma, ascending.
        selection: Questions that rank, in the order in which candidates answer them.
        test: Questions that test the vote.
        truth: True accuracy of every candidate of the table, where it is known.
    """

    table: ScoreTable
    by_sigma: list[Indices]
    selection: Indices
    test: Indices
    truth: NDArray[np.float64] | None = None

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether each selection answer of the table's candidates is right, `[n_candidates, n_selection]`."""
        return self.table.correct[1:, self.selection]


@dataclass(frozen=True)
class Result:
    """Result of a population: selection answers, accuracy of its experts and of their vote, and share of each sigma."""

    answers: int
    experts: float
    vote: float
    shares: tuple[float, ...]


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("presets", nargs="*", metavar="PRESET")
    options_parser.add_argument("--made", nargs="+", default=list(MADE), choices=MADE, help="which made tables")
    options_parser.add_argument("--population-seeds", type=int, nargs="+", default=[0, 1, 2])
    options_parser.add_argument("--draws", type=int, default=40)
    options_parser.add_argument("--size", type=int, default=1000, help="candidates of a run")
    options_parser.add_argument("--k", type=int, default=20)
    options_parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    options_parser.add_argument("--home", type=Path, default=Path("thickets-data/complete-scores"))
    options = options_parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    for name in options.presets:
        tables = []
        for seed in options.population_seeds:
            config = load(name, [*options.overrides, f"population.seed={seed}", f"storage.home={options.home}"])
            tables.append(complete_scores(config))
        found = compare(_real(pool(tables), options.draws), options.size, options.k)
        rows |= {f"{config.model}: {row}": figures for row, figures in found.items()}
    if not options.presets:
        for name in options.made:
            found = compare(_made(MADE[name], options.size, options.draws), options.size, options.k)
            rows |= {f"{name}: {row}": figures for row, figures in found.items()}
    title = f"pilots, {options.size} candidates, K = {options.k}; accuracies in per cent, differences in points"
    show(title, rows, options.json)


def compare(draws: Iterator[Draw], size: int, k: int) -> dict[str, dict[str, Any]]:
    """Compare every pilot with the even split, with and without racing."""
    found: dict[str, list[tuple[Result, Result]]] = {}

    def note(label: str, result: Result, against: Result) -> None:
        found.setdefault(label, []).append((result, against))

    for draw in draws:
        n_sigmas, n = len(draw.by_sigma), len(draw.selection)
        even = take(draw, even_split(n_sigmas, size))
        whole = rate(draw, even, n, k)
        note("even split", whole, whole)
        for place in range(n_sigmas):
            if len(draw.by_sigma[place]) >= size:
                note(f"only {place + 1}", rate(draw, take(draw, [place] * size), n, k), whole)
        raced = rate(draw, even, math.ceil(n / ROUNDS), k)
        for per_sigma, share in _pilots(size, n_sigmas):
            label = f"pilot {per_sigma * n_sigmas}, even {share:g}"
            places = with_pilot(draw, size, per_sigma * n_sigmas, share, n)
            if (rows := take(draw, places)) is None:
                continue
            note(label, rate(draw, rows, n, k), whole)
            if share == DEFAULT_EVEN:
                fewer = _as_cheap(draw, rows, per_sigma * n_sigmas, raced.answers, k)
                note(f"{label}, raced", fewer, raced)
        few = take(draw, with_pilot(draw, size, DEFAULT_PER_SIGMA * n_sigmas, DEFAULT_EVEN, n // 4))
        if few is not None:
            label = f"pilot {DEFAULT_PER_SIGMA * n_sigmas}, even {DEFAULT_EVEN:g}, on {n // 4} questions"
            note(label, rate(draw, few, n, k), whole)
    return {label: _row(each, is_base=label == "even split") for label, each in found.items()}


def even_split(n_sigmas: int, size: int) -> list[int]:
    """Return the place of every candidate's sigma, as `thickets.tasks.seeds.population` has it."""
    return [position % n_sigmas for position in range(size)]


def with_pilot(draw: Draw, size: int, n_pilot: int, even: float, n_asked: int) -> list[int]:
    """Return the place of every candidate's sigma after a pilot that answered the first `n_asked` questions."""
    n_sigmas = len(draw.by_sigma)
    places = even_split(n_sigmas, n_pilot)
    rows = take(draw, places)
    assert rows is not None
    right = draw.right[rows, :n_asked]
    outcomes = pl.DataFrame(
        {"sigma": np.array(places, dtype=float), "correct": right.tolist(), "score": (FULL * right).tolist()}
    )
    shares = [row.millionths for row in learn(outcomes, even).sigmas]
    return places + list(islice(spread_out(shares), size - n_pilot))


def take(draw: Draw, places: Sequence[int]) -> Indices | None:
    """Take candidates with these sigmas, in this order, as rows of the table; None if it has too few of a sigma."""
    left = [iter(rows) for rows in draw.by_sigma]
    taken = [next(left[place], None) for place in places]
    return None if None in taken else np.array(taken)


def rate(draw: Draw, rows: Indices, per_block: int, k: int, n_spared: int = 0) -> Result:
    """Rank a population by the selection split, in blocks of `per_block` questions, and let the best K vote."""
    answers, ranked = race(draw, rows, per_block, k, n_spared)
    best = ranked["candidate_id"].to_numpy()
    accuracy = draw.table.correct[1:][np.ix_(best, draw.test)].mean() if draw.truth is None else draw.truth[best].mean()
    voted = vote(ballots(draw.table, ranked, draw.test), k, "majority")["correct"].to_numpy().mean()
    shares = [float(np.isin(rows, of_sigma).mean()) for of_sigma in draw.by_sigma]
    return Result(answers, float(accuracy), float(voted), tuple(shares))


def race(draw: Draw, rows: Indices, per_block: int, k: int, n_spared: int = 0) -> tuple[int, pl.DataFrame]:
    """Race, and return the number of selection answers and the K best; one block of all questions is no race."""
    n, answers = len(draw.selection), 0
    board = draw.table.population[rows].select(
        "seed", "sigma", candidate_id=pl.Series(rows), position=pl.int_range(pl.len()), n_correct=pl.lit(0)
    )
    for start in range(0, n, per_block):
        end = min(start + per_block, n)
        answers += board.height * (end - start)
        counts = draw.right[board["candidate_id"].to_numpy(), :end].sum(axis=1)
        board = board.with_columns(n_correct=pl.Series(counts), points=pl.Series(FULL * counts))
        alive = go_on(board, end, n, Rule(k, Z))["candidate_id"].to_list()
        board = board.filter(pl.col("candidate_id").is_in(alive) | (pl.col("position") < n_spared))
    ordered = board.sort(["points", "seed", "sigma"], descending=[True, False, False])
    return answers, plain(ordered.with_columns(n=pl.lit(n)), k)


def _as_cheap(draw: Draw, rows: Indices, n_pilot: int, answers: int, k: int) -> Result:
    """Rate the longest beginning of a population whose race needs at most `answers`; to one candidate in a hundred."""
    per_block = math.ceil(len(draw.selection) / ROUNDS)
    fits, too_many = n_pilot, len(rows) + 1
    while too_many - fits > max(1, len(rows) // 100):
        size = min(len(rows), (fits + too_many) // 2 if too_many <= len(rows) else len(rows))
        if race(draw, rows[:size], per_block, k, n_pilot)[0] <= answers:
            fits = size
            if size == len(rows):
                break
        else:
            too_many = size
    return rate(draw, rows[:fits], per_block, k, n_pilot)


def _pilots(size: int, n_sigmas: int) -> Iterator[tuple[int, float]]:
    for per_sigma in PER_SIGMA:
        if per_sigma * n_sigmas <= size // 2:
            for share in EVEN if per_sigma == DEFAULT_PER_SIGMA else [DEFAULT_EVEN]:
                yield per_sigma, share


def _made(situation: Situation, size: int, n_draws: int) -> Iterator[Draw]:
    """Yield draws with a table of their own each, with enough candidates of each sigma for a run of one sigma alone."""
    n_sigmas = len(situation.means)
    for seed in range(n_draws):
        table = synthetic_scores(situation, n_sigmas * size, (128, 0, 256), seed)
        by_sigma = [np.arange(place, n_sigmas * size, n_sigmas) for place in range(n_sigmas)]
        yield Draw(table, by_sigma, np.arange(128), np.arange(128, 384), table.truth)


def _real(table: ScoreTable, n_draws: int) -> Iterator[Draw]:
    rng = np.random.default_rng(0)
    sigmas = table.population["sigma"].to_numpy()
    for _ in range(n_draws):
        order, questions = rng.permutation(len(sigmas)), rng.permutation(sum(table.sizes))
        by_sigma = [order[sigmas[order] == sigma] for sigma in np.unique(sigmas)]
        yield Draw(table, by_sigma, questions[: table.sizes[0]], questions[table.sizes[0] :])


def _row(found: Sequence[tuple[Result, Result]], *, is_base: bool) -> dict[str, Any]:
    experts, votes = (
        100 * np.array([getattr(a, name) - (0 if is_base else getattr(b, name)) for a, b in found])
        for name in ("experts", "vote")
    )
    row: dict[str, Any] = {
        "answers": 100 * float(np.mean([a.answers / b.answers for a, b in found])),
        "experts": float(experts.mean()),
        "se": _standard_error(experts),
        "vote": float(votes.mean()),
        "se of vote": _standard_error(votes),
        "worst": float(experts.min()),
    }
    shares = 100 * np.array([a.shares for a, _ in found]).mean(axis=0)
    return row | {f"share {place}": float(share) for place, share in enumerate(shares, start=1)}


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
