"""What racing saves and what it costs: replays it on tables in which every candidate has answered every question.

    python -m benchmarks.racing                        # synthetic tables, the truth known
    python -m benchmarks.racing signals quickstart     # and complete tables of presets (see benchmarks.selection)

Every draw deals the questions anew (selection split as large as the preset's, all others test the vote) and, of real
tables, takes some of the candidates. Then the candidates are ranked by the whole selection split (*plain*), and after a
race. K is the preset's largest; the vote is the majority's.

- `saved`: share of the selection answers that racing does not generate.
- `top 10`, `top K`: share of plain's 10 and K best that the race kept.
- `true 10`, where the truth is known: share of the truly best 10 that are among the K experts, minus plain's.
- `experts`: mean accuracy of the K experts (the true one, or on the other questions) minus plain's, in points; `vote`:
  that of their vote; `se`: standard error of the mean difference of the vote over the draws.
- `equal cost`: the same number of answers spent in other ways, compared with all candidates answering 64 questions:
  `halving b, f` asks blocks of b questions and keeps the share f of the candidates after each; `fewer candidates` asks
  half of the candidates twice as many questions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from benchmarks.synthetic_scores import SITUATIONS, synthetic_scores  # noqa: E402
from thickets.tasks.adaptive.racing import Rule, go_on  # noqa: E402
from thickets.tasks.evaluation.voting import vote  # noqa: E402
from thickets.tasks.selection.ranking import plain  # noqa: E402
from thickets.tasks.types import FULL  # noqa: E402

CERTAIN = 1000.0
RULES = {
    "certain": (CERTAIN, None),
    "z 2.58": (2.58, None),
    "z 1.64": (1.64, None),
    "z 1": (1.0, None),
    "z 0.5": (0.5, None),
    "z 1.64, keep 0.5": (1.64, 0.5),
}
ROUNDS = (2, 4, 8)
# Blocks of b questions, of which the share f goes on after each: all of these ask b / (1 - f) = 64 per candidate.
HALVINGS = {"halving 16, 0.75": (16, 0.75), "halving 32, 0.5": (32, 0.5), "halving 48, 0.25": (48, 0.25)}
PER_CANDIDATE = 64
_COLUMNS = ("saved", "top 10", "top K", "true 10", "experts", "vote", "se")


@dataclass(frozen=True)
class Draw:
    """Candidates, and the questions that rank them and test their vote; indices into a table.

    Attributes:
        candidates: Candidates to rank, `[n_candidates]`.
        selection: Questions that rank, in the order in which candidates answer them.
        test: Questions that test the vote.
        truth: True accuracy of every candidate of the table, where it is known.
    """

    candidates: Indices
    selection: Indices
    test: Indices
    truth: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Result:
    """Cost and accuracy of a way of ranking.

    Attributes:
        answers: Number of selection answers.
        best: Indices of the K experts, the best first.
        accuracy: Mean accuracy of the K experts; the true one where it is known, else that on the test questions.
        true_best: How many of the truly best 10 of the draw are among them; None where that is not known.
        vote: Accuracy of their vote.
        whole: Candidates that answered every question.
    """

    answers: int
    best: Indices
    accuracy: float
    true_best: int | None
    vote: float
    whole: frozenset[int]


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("presets", nargs="*", metavar="PRESET")
    options_parser.add_argument("--population-seeds", type=int, nargs="+", default=[0, 1, 2])
    options_parser.add_argument("--draws", type=int, default=40)
    options_parser.add_argument("--candidates", type=int, default=2000, help="of a synthetic table")
    options_parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    options_parser.add_argument("--home", type=Path, default=Path("thickets-data/complete-scores"))
    options = options_parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    for name in options.presets:
        tables = []
        for seed in options.population_seeds:
            config = load(name, [*options.overrides, f"population.seed={seed}", f"storage.home={options.home}"])
            tables.append(complete_scores(config))
        found = real(pool(tables), config.population.size, len(tables), config.selection.k_values[-1], options.draws)
        rows |= {f"{config.name}: {row}": figures for row, figures in found.items()}
    if not options.presets:
        for name in SITUATIONS:
            found = synthetic(name, options.candidates, options.draws)
            rows |= {f"{name}: {row}": figures for row, figures in found.items()}
    show("racing; shares in per cent, experts and vote in points against plain", rows, options.json)


def real(table: ScoreTable, size: int, n_tables: int, k: int, n_draws: int) -> dict[str, dict[str, Any]]:
    """Return the rows of a real table; if it holds one population, each draw takes three quarters of it."""
    rng = np.random.default_rng(0)
    n_drawn = size if n_tables > 1 else size * 3 // 4
    n_questions, n_selection = sum(table.sizes), table.sizes[0]

    def draws() -> Iterator[tuple[ScoreTable, Draw, Indices]]:
        for _ in range(n_draws):
            order = rng.permutation(table.population.height)
            questions = rng.permutation(n_questions)
            drawn = Draw(np.sort(order[:n_drawn]), questions[:n_selection], questions[n_selection:])
            yield table, drawn, order[n_drawn:]

    return compare(list(draws()), k)


def synthetic(name: str, size: int, n_draws: int) -> dict[str, dict[str, Any]]:
    """Return the rows of a synthetic situation: a table of its own in each draw, K one candidate in a hundred."""
    draws: list[tuple[ScoreTable, Draw, Indices]] = []
    for seed in range(n_draws):
        table = synthetic_scores(SITUATIONS[name], size + size // 4, (256, 0, 512), seed)
        questions = np.arange(768)
        others = np.arange(size, size + size // 4)
        draws.append((table, Draw(np.arange(size), questions[:256], questions[256:], table.truth), others))
    return compare(draws, max(10, size // 100))


def compare(draws: Sequence[tuple[ScoreTable, Draw, Indices]], k: int) -> dict[str, dict[str, Any]]:
    """Replay every rule with every number of rounds on all draws; candidates that were not drawn rate the questions."""
    found: dict[str, list[dict[str, float]]] = {}
    for table, draw, others in draws:
        n = len(draw.selection)
        whole = race(table, draw, n, Rule(k, CERTAIN), k)
        for n_rounds in ROUNDS:
            for name, (z, keep) in RULES.items():
                raced = race(table, draw, math.ceil(n / n_rounds), Rule(k, z, keep), k)
                label = f"{name}, {n_rounds} rounds of {math.ceil(n / n_rounds)}"
                found.setdefault(label, []).append(_against(raced, whole, len(draw.candidates) * n, k))
        for order, questions in _orders(table, draw.selection, others, math.ceil(n / 4)).items():
            raced = race(table, replace(draw, selection=questions), math.ceil(n / 4), Rule(k, 1.64), k)
            found.setdefault(f"z 1.64, 4 rounds, {order}", []).append(
                _against(raced, whole, len(draw.candidates) * n, k)
            )
        for name, raced, base in _equal_cost(table, draw, k):
            found.setdefault(f"equal cost, {name}", []).append(
                _against(raced, base, len(draw.candidates) * PER_CANDIDATE, k)
            )
    return {label: _mean(each) for label, each in found.items()}


def race(table: ScoreTable, draw: Draw, per_block: int, rule: Rule, k: int) -> Result:
    """Race in blocks of `per_block` questions, and rank the candidates that answered all of them."""
    right = table.correct[1:][np.ix_(draw.candidates, draw.selection)]
    board = (
        table.population[draw.candidates]
        .select("seed", "sigma", candidate_id=pl.Series(draw.candidates))
        .with_columns(row=pl.int_range(pl.len()))
    )
    n, answers = len(draw.selection), 0
    for start in range(0, n, per_block):
        end = min(start + per_block, n)
        answers += board.height * (end - start)
        counts = right[board["row"].to_numpy(), :end].sum(axis=1)
        counted = board.with_columns(n_correct=pl.Series(counts), points=pl.Series(FULL * counts))
        board = go_on(counted, end, n, rule)
    ranked = plain(board.with_columns(n=pl.lit(n)), k)
    best = ranked["candidate_id"].to_numpy()
    voted = vote(ballots(table, ranked, draw.test), k, "majority")["correct"]
    if draw.truth is None:
        accuracy, true_best = table.correct[1:][np.ix_(best, draw.test)].mean(), None
    else:
        accuracy = draw.truth[best].mean()
        true_best = len(set(draw.candidates[np.argsort(-draw.truth[draw.candidates])[:10]]) & set(best))
    whole = frozenset(board["candidate_id"])
    return Result(answers, best, float(accuracy), true_best, float(voted.to_numpy().mean()), whole)


def _orders(table: ScoreTable, questions: Indices, others: Indices, per_block: int) -> dict[str, Indices]:
    """Order the questions so that those on which candidates of an earlier run (not drawn) differed most come first.

    Sorted one by one; sorted but for a first block that stays as it was dealt; in whole blocks as they were dealt.
    """

    def told(some: Indices) -> NDArray[np.float64]:
        share = table.correct[1:][np.ix_(others, some)].mean(axis=0)
        return share * (1 - share)

    def first(some: Indices) -> Indices:
        return some[np.argsort(-told(some), kind="stable")]

    blocks = [questions[start : start + per_block] for start in range(0, len(questions), per_block)]
    return {
        "hard to tell first": first(questions),
        "hard to tell first, but one block": np.concatenate([questions[:per_block], first(questions[per_block:])]),
        "blocks hard to tell first": np.concatenate(sorted(blocks, key=lambda block: -float(told(block).mean()))),
    }


def _equal_cost(table: ScoreTable, draw: Draw, k: int) -> Iterator[tuple[str, Result, Result]]:
    """Spend the answers of all candidates to 64 questions in other ways; yield nothing for fewer than 128 questions."""
    if len(draw.selection) < 2 * PER_CANDIDATE:
        return
    certain = Rule(k, CERTAIN)
    few = replace(draw, selection=draw.selection[:PER_CANDIDATE])
    everybody = race(table, few, PER_CANDIDATE, certain, k)
    half = replace(draw, candidates=draw.candidates[::2], selection=draw.selection[: 2 * PER_CANDIDATE])
    yield "fewer candidates", race(table, half, 2 * PER_CANDIDATE, certain, k), everybody
    for name, (per_block, keep) in HALVINGS.items():
        yield name, race(table, draw, per_block, Rule(k, CERTAIN, keep), k), everybody


def _against(raced: Result, whole: Result, all_answers: int, k: int) -> dict[str, float]:
    known = {}
    if raced.true_best is not None and whole.true_best is not None:
        known = {"true 10": 10.0 * (raced.true_best - whole.true_best)}
    return known | {
        "saved": 100 * (1 - raced.answers / all_answers),
        "top 10": 100 * len(raced.whole.intersection(whole.best[:10].tolist())) / min(10, k),
        "top K": 100 * len(raced.whole.intersection(whole.best.tolist())) / k,
        "experts": 100 * (raced.accuracy - whole.accuracy),
        "vote": 100 * (raced.vote - whole.vote),
    }


def _mean(draws: Sequence[dict[str, float]]) -> dict[str, Any]:
    votes = np.array([draw["vote"] for draw in draws])
    row: dict[str, Any] = {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
    row["se"] = float(votes.std(ddof=1) / len(votes) ** 0.5) if len(votes) > 1 else float("nan")
    return {name: row.get(name, "") for name in _COLUMNS}


if __name__ == "__main__":
    main()
