"""Is there a better selection than the plain top K with a majority vote? Every method x vote rule, K by validation.

    python -m benchmarks.selection quickstart products [--population-seeds 0 1 2] [--draws 200] [--set engine.kind=vllm]

Takes presets of flows/config/presets and benchmarks/presets, or paths to YAML files. First every candidate of the
populations answers every question of the preset (hours on two cores for three populations; it goes on where it was
stopped). Then selection, choice on validation and vote are replayed from the table:

- "population seed N": the preset's own splits and population. `minus plain` is the difference on the test split to
  top_k/majority, from `low` to `high` its 95 % paired bootstrap interval.
- "redraws": in each, all questions are dealt anew to the three splits, and a population of the preset's size is drawn
  from all that were scored (half of them if there is but one population). `minus plain` is the mean difference, `se`
  the standard error of that mean, `sd` how much one draw differs from the next, `won` and `lost` shares of the draws.

The draws share questions and candidates, so `se` says how well the mean over these is known. It is no interval for
other questions or models: for that, compare populations and presets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.output import parser, show
from thickets.flows.runtime.environment import set_command_line_defaults

set_command_line_defaults()  # before Prefect is imported

from benchmarks.complete_scores import CompleteScores, complete_scores  # noqa: E402
from benchmarks.replay import CHOSEN, PLAIN, Outcome, own_division, random_division, replay  # noqa: E402
from thickets.flows.config.file import load_config  # noqa: E402
from thickets.flows.config.run import RunConfig  # noqa: E402
from thickets.tasks.statistics import paired_difference  # noqa: E402

_PRESETS = Path(__file__).parent / "presets"
_COLUMNS = ("K", "test", "minus plain", "low", "high", "se", "sd", "won", "lost", "taken")


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("presets", nargs="+", metavar="PRESET")
    options_parser.add_argument("--population-seeds", type=int, nargs="+", default=[0, 1, 2])
    options_parser.add_argument("--draws", type=int, default=200)
    options_parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    options_parser.add_argument("--home", type=Path, default=Path("thickets-data/complete-scores"))
    options = options_parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    for name in options.presets:
        tables = []
        for seed in options.population_seeds:
            config = load(name, [*options.overrides, f"population.seed={seed}", f"storage.home={options.home}"])
            tables.append(complete_scores(config))
        label = f"{config.name}, " if len(options.presets) > 1 else ""
        found = compare(tables, config.selection.k_values, options.population_seeds, options.draws)
        rows |= {label + row: figures for row, figures in found.items()}
    show(f"selection on {', '.join(options.presets)}; accuracies in per cent, {PLAIN} is plain", rows, options.json)


def load(name: str, overrides: Sequence[str]) -> RunConfig:
    """Load a preset of the package, one of the benchmarks, or a file."""
    own = _PRESETS / f"{name}.yaml"
    return load_config(str(own) if own.is_file() else name, overrides)


def compare(
    tables: Sequence[CompleteScores], k_values: Sequence[int], seeds: Sequence[int], n_draws: int
) -> dict[str, dict[str, Any]]:
    """Return the rows of the table: every population as it is, then the redraws from all of them together."""
    size = tables[0].population.height
    scores = pool(tables)
    rows: dict[str, dict[str, Any]] = {}
    for place, seed in enumerate(seeds):
        division = own_division(scores, np.arange(place * size, (place + 1) * size))
        found = replay(scores, division, k_values)
        label = f"population seed {seed}"
        rows[f"{label}, base"] = _row(test=100 * float(scores.correct[0][division.test].mean()))
        rows |= {f"{label}, {name}": _own(each, found[PLAIN]) for name, each in found.items()}
        rows[f"{label}, {CHOSEN}"] |= _taken([found[CHOSEN]])
    rng = np.random.default_rng(0)
    n_drawn = size if len(tables) > 1 else size // 2
    draws = [replay(scores, random_division(scores, n_drawn, rng), k_values) for _ in range(n_draws)]
    for name in draws[0] if draws else ():
        rows[f"{n_draws} redraws, {name}"] = _redrawn([draw[name] for draw in draws], [draw[PLAIN] for draw in draws])
    if draws:
        rows[f"{n_draws} redraws, {CHOSEN}"] |= _taken([draw[CHOSEN] for draw in draws])
    return rows


def pool(tables: Sequence[CompleteScores]) -> CompleteScores:
    """Join populations that answered the same questions into one, candidates in the order of the tables."""
    first, *others = tables
    return CompleteScores(
        pl.concat([table.population for table in tables]),
        first.sizes,
        pl.concat([first.answers, *(table.answers.filter(pl.col("candidate_id") != "base") for table in others)]),
    )


def _row(**figures: Any) -> dict[str, Any]:
    """Return a row with a place for every column, so that all rows name them in one order."""
    return dict.fromkeys(_COLUMNS, "") | {name.replace("_", " "): figure for name, figure in figures.items()}


def _own(found: Outcome, plain: Outcome) -> dict[str, Any]:
    gap = paired_difference(found.correct.tolist(), plain.correct.tolist())
    return _row(
        K=found.choice.k,
        test=100 * float(found.correct.mean()),
        minus_plain=100 * gap.value,
        low=100 * gap.low,
        high=100 * gap.high,
    )


def _redrawn(found: Sequence[Outcome], plain: Sequence[Outcome]) -> dict[str, Any]:
    test = np.array([each.correct.mean() for each in found])
    gaps = 100 * (test - [each.correct.mean() for each in plain])
    sd = float(gaps.std(ddof=1)) if len(gaps) > 1 else float("nan")
    return _row(
        K=float(np.mean([each.choice.k for each in found])),
        test=100 * float(test.mean()),
        minus_plain=float(gaps.mean()),
        se=sd / len(gaps) ** 0.5,
        sd=sd,
        won=float((gaps > 0).mean()),
        lost=float((gaps < 0).mean()),
    )


def _taken(found: Sequence[Outcome]) -> dict[str, Any]:
    """Return how often validation chose each method with each vote rule."""
    names = [f"{each.choice.method}/{each.choice.rule}" for each in found]
    counts = sorted(((names.count(name), name) for name in set(names)), reverse=True)
    taken = [name if len(found) == 1 else f"{name} {count}" for count, name in counts]
    return {"taken": "  " + ", ".join(taken)}


if __name__ == "__main__":
    main()
