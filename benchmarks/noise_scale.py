"""Does it pay to scale the noise per kind of tensor? Equal populations, each setting at the sigma that suits it.

    python -m benchmarks.noise_scale [--home FOLDER] [--size 32] [--tune 8] [--only NAME ...] [--sigmas 0.004 ...]
        [--set KEY=VALUE ...]

The quickstart's problem and model in float32. For each setting, a small population at each of a few sigmas; the sigma
whose vote is best on the validation split gets the whole population, of which the small one is the beginning. All are
ordinary runs of one home: killed, the same command goes on. The sigmas of a setting are as many for each, a factor of
two apart, around where the first candidates of it still answer. Eight candidates are few to choose by: `--sigmas` gives
every setting the whole population at each of these instead.

- `base`, `mean`, `best`: accuracy on the selection split, of the base, of all candidates (with the interval of the
  mean), and of the best one, which luck flatters.
- `+0`, `+5`, `+10`: solution density: the share of the candidates at least as many points above the base there.
- `vote`, `merge`: on the validation split, with the base's beside them; the best of a few K and of a few merges, and
  chosen at the best sigma, so that both are flattered alike in every row.
- `test vote`: of the experts of that K on the test split, which chose nothing.

Accuracies in per cent with 95 % intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.output import parser, show
from thickets.flows.runtime.environment import set_command_line_defaults

set_command_line_defaults()  # before Prefect is imported

from thickets.flows.api.searches import search  # noqa: E402
from thickets.flows.config.file import load_config, parse_config  # noqa: E402
from thickets.flows.results.summary import RunSummary  # noqa: E402
from thickets.tasks.results.intervals import Accuracy  # noqa: E402
from thickets.tasks.results.thicket import SigmaScores  # noqa: E402

MARGINS = (0, 5, 10)
SIGMAS = (0.002, 0.004, 0.008, 0.016)


@dataclass(frozen=True)
class Setting:
    """One way to scale the noise.

    Attributes:
        noise: The section of the configuration.
        sigmas: Those that are tried.
    """

    noise: dict[str, Any] = field(default_factory=dict)
    sigmas: tuple[float, ...] = SIGMAS


SETTINGS = {
    "all alike": Setting(),
    "norms 0": Setting({"scale": {"*norm*": 0}}),
    "norms only": Setting({"include": ["*norm*"]}, (0.005, 0.01, 0.02, 0.04)),
    "norms 0.1": Setting({"scale": {"*norm*": 0.1}}),
    "norms 3": Setting({"scale": {"*norm*": 3}}),
    "embeddings 0": Setting({"scale": {"*embed*": 0}}),
    "balanced": Setting({"rule": "balanced"}),
}


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--home", type=Path, default=Path("noise-scale"), help="folder of the runs")
    options_parser.add_argument("--size", type=int, default=32, help="candidates of a setting at its best sigma")
    options_parser.add_argument("--tune", type=int, default=8, help="candidates at each sigma that is tried")
    options_parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="these settings")
    options_parser.add_argument("--sigmas", nargs="+", type=float, default=[], help="each of these, without tuning")
    options_parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="as of `thickets run`")
    options = options_parser.parse_args()
    rows = {}
    for name in options.only:
        setting = SETTINGS[name]
        for sigma in options.sigmas or [tuned(setting, options.home, options.tune, options.set)]:
            label = f"{name}, {sigma:g}"
            rows[label] = row(run(setting, sigma, options.size, options.home, options.set, is_last=True))
            print(f"{label}: {rows[label]}", flush=True)
    show(f"noise per kind of tensor, {options.size} candidates each", rows, options.json)


def tuned(setting: Setting, home: Path, size: int, overrides: list[str]) -> float:
    """Find a setting's sigma by small populations."""
    tried = {sigma: run(setting, sigma, size, home, overrides, is_last=False) for sigma in setting.sigmas}
    return max(tried, key=lambda sigma: _vote(tried[sigma]).value)  # of equally good ones the smallest


def run(setting: Setting, sigma: float, size: int, home: Path, overrides: list[str], *, is_last: bool) -> RunSummary:
    """Search at one sigma, without what only the result of a whole search is compared with; at the last, merge too."""
    base = load_config("quickstart", ["data.selection=48", "data.validation=64", "data.test=64", *overrides])
    values = base.model_dump(mode="json", exclude_unset=True)
    values |= {
        "name": "noise-scale",
        "noise": setting.noise,
        "population": {"size": size, "sigmas": [sigma]},
        "selection": {"k_values": [k for k in ((3, 5) if is_last else (3,)) if k <= size] or [size]},
        "controls": dict.fromkeys(
            ("self_consistency", "random_experts", "weight_average", "best_prompt", "chance"), False
        ),
        "storage": {"home": str(home)},
    }
    if is_last:
        values["merge"] = {"directions": ["best", "z_score"], "radii": [0.5, 1.0]}
    found = search(parse_config(values))
    assert isinstance(found, RunSummary)
    return found


def row(summary: RunSummary) -> dict[str, str]:
    """Make a setting's row of the table."""
    [scores] = summary.thicket.sigmas
    [candidates] = summary.sigmas
    density = {point.margin_points: point.share for point in scores.density}
    vote, merge = _vote(summary), summary.merge
    return {
        "base": f"{100 * summary.base_selection.value:.1f}",
        "mean": _mean(scores),
        "best": f"{100 * candidates.max_accuracy:.1f}",
        **{f"+{margin}": _percent(density[margin]) for margin in MARGINS},
        "vote": _percent(vote),
        "merge": "" if merge is None else _percent(merge.chosen.accuracy),
        "merge - base": ""
        if merge is None
        else "{:+.1f} [{:+.1f}, {:+.1f}]".format(
            *(100 * x for x in (merge.minus_base.value, merge.minus_base.low, merge.minus_base.high))
        ),
        "test vote": _percent(summary.evaluation.ensemble),
    }


def _vote(summary: RunSummary) -> Accuracy:
    return max((point.accuracy for point in summary.validation_curve), key=lambda found: found.value)


def _mean(scores: SigmaScores) -> str:
    """Return the candidates' mean accuracy, with the interval of the mean of so many."""
    full = scores.n_examples * scores.unit
    values = [score / full for score, times in scores.histogram.items() for _ in range(times)]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    half = 1.96 * math.sqrt(variance / len(values))
    return f"{100 * mean:.1f} ± {100 * half:.1f}"


def _percent(found: Any) -> str:
    return f"{100 * found.value:.1f} [{100 * found.low:.0f}, {100 * found.high:.0f}]"


if __name__ == "__main__":
    main()
