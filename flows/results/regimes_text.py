"""Several models on one problem, as a table and sentences; they claim a trend only where intervals lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

from thickets.flows.results.rows import GET_HEADING, USE_HEADING, times_base, to_get, to_use
from thickets.tasks.results.intervals import Accuracy, Difference, Share
from thickets.tasks.results.regimes import Regime, Regimes
from thickets.tasks.results.text import figure_name, markdown_table, percent, points
from thickets.tasks.results.verdicts import Kind, verdict

Course = Literal["rises", "falls", "higher", "lower", "unclear"]
"""What intervals say from the smallest model to the largest; see `course`."""

LEAST_FOR_A_TREND = 4
COLUMNS = (
    "model",
    "parameters",
    "run",
    "base",
    "density",
    "best sigma",
    "best candidate on new questions",
    "best single expert",
    "vote",
    "vote minus base, points",
    GET_HEADING,
    USE_HEADING,
)
SIGMA_MARGINS = (0, 5, 10, 20)
"""Margins of the solution density in the table of sigmas, in points."""
SIGMA_COLUMNS = ("model", "sigma", "candidates", "base", "best", *(f"+{margin}" for margin in SIGMA_MARGINS))


def regimes_rows(found: Regimes) -> list[tuple[str, ...]]:
    """Return a row per model; accuracies are on the test split, density and best candidate on the selection split.

    The cost is that of the vote.
    """
    return [
        (
            title(each),
            f"{each.n_parameters:,}",
            each.run_id,
            percent(each.base),
            _share(each.density(found.margin_points)),
            f"{each.best.sigma:g}",
            f"{percent(each.best.corrected)} {_interval(each.best.corrected_low, each.best.corrected_high)}",
            percent(each.best_single),
            f"{percent(each.vote)}, K = {each.k}",
            points(each.vote_minus_base),
            *vote_cost(each),
        )
        for each in found.models
    ]


def vote_cost(model: Regime) -> tuple[str, str]:
    """Write the tokens that it took to get the vote's experts, and those of a vote in multiples of the base's."""
    row = None if model.cost is None else model.cost.of("ensemble")
    return to_get(row), to_use(None if row is None else times_base(row, model.cost))


def sigma_rows(found: Regimes) -> list[tuple[str, ...]]:
    """Return a row per model and sigma, on the selection split."""
    rows = []
    for each in found.models:
        for row in each.sigmas:
            shown = f"{row.sigma:g}{' (best)' if row.sigma == each.best.sigma else ''}"
            full = 1000 * row.n_examples
            highest = percent(row.points(row.quantiles[-1]) / full)
            densities = (_share(each.density(margin, row.sigma)) for margin in SIGMA_MARGINS)
            base = percent(row.base_total / full)
            rows.append((title(each), shown, f"{row.n_candidates:,}", base, highest, *densities))
    return rows


def title(model: Regime) -> str:
    """Return the model's name; the floor's says that it is one."""
    return f"{model.name} (floor)" if model.is_floor else model.name


def headline(found: Regimes) -> str:
    """Say what the densities of the models show, and no more."""
    models = found.trained
    shares = [each.density(found.margin_points) for each in models]
    seen = course(shares)
    first, last = models[0], models[-1]
    between = f"{percent(shares[0].value, 0)} around {first.name}, {percent(shares[-1].value, 0)} around {last.name}"
    what = f"solution density at {found.margin_points} points"
    if found.is_one_size or len(models) < LEAST_FOR_A_TREND:
        if apart := _apart(models, shares):
            low, high = apart
            return (
                f"The thicket around {models[high].name} is denser than that around {models[low].name}: "
                f"{percent(shares[high].value, 0)} against {percent(shares[low].value, 0)} of the candidates are "
                f"{found.margin_points} points above their base."
            )
        which = "denser" if len(models) == 2 else "densest"
        return f"Which of the {len(models)} models has the {which} thicket cannot be told: the intervals overlap."
    if seen in ("rises", "falls"):
        return f"From model to model the {what} {seen} with the number of parameters: {between}."
    if seen in ("higher", "lower"):
        return f"The {what} is {seen} around the largest model than around the smallest: {between}."
    return f"No trend of the {what} with the number of parameters: {between}, and the intervals overlap."


def regimes_sentences(found: Regimes) -> list[str]:
    """Return what can be said of the models, and what cannot."""
    return list(_sentences(found))


def regimes_markdown(found: Regimes) -> str:
    """Return headline, tables and sentences as Markdown."""
    lines = "\n".join(f"- {sentence}" for sentence in regimes_sentences(found))
    tables = markdown_table(COLUMNS, regimes_rows(found)), markdown_table(SIGMA_COLUMNS, sigma_rows(found))
    return "\n\n".join([f"**{headline(found)}**", tables[0], lines, tables[1]]) + "\n"


def course(found: Sequence[Accuracy | Share | Difference]) -> Course:
    """Say what intervals show from the first value to the last.

    Returns:
        ``rises`` or ``falls`` where every interval lies apart from the one before, on one side; ``higher`` or ``lower``
        where only the last lies apart from the first; else ``unclear``.
    """
    if all(b.low > a.high for a, b in pairwise(found)):
        return "rises"
    if all(b.high < a.low for a, b in pairwise(found)):
        return "falls"
    if found[-1].low > found[0].high:
        return "higher"
    return "lower" if found[-1].high < found[0].low else "unclear"


def _apart(models: Sequence[Regime], shares: Sequence[Share]) -> tuple[int, int] | None:
    """Return the models with the lowest and the highest share, if their intervals lie apart."""
    order = sorted(range(len(models)), key=lambda place: shares[place].value)
    low, high = order[0], order[-1]
    return (low, high) if shares[high].low > shares[low].high else None


def _sentences(found: Regimes) -> Iterator[str]:
    models = found.trained
    yield _size_sentence(found)
    yield from _vote_sentences(models)
    luck = [each.name for each in models if not each.best.is_more_than_luck]
    if luck:
        yield f"Luck alone may give a best candidate as good as the one that was found around {_listed(luck)}."
    yield from _base_sentences(found)
    yield from _floor_sentences(found)
    yield from _prompt_sentences(found)
    yield (
        "A density is that of the sigma whose best candidate is best, chosen by the same scores, which flatters every "
        "model a little where there are several sigmas. One population of seeds is behind each model."
    )


def _size_sentence(found: Regimes) -> str:
    models = found.trained
    n = len(models)
    if found.is_one_size:
        return "The models have one number of parameters, so nothing here is about size."
    if n < LEAST_FOR_A_TREND:
        return f"With {n} models no trend with size is claimed; they may differ in much else, their training above all."
    gains = course([each.vote_minus_base for each in models])
    said = {
        "rises": "The vote's gain over its base rises from model to model.",
        "falls": "The vote's gain over its base falls from model to model.",
        "higher": "The vote gains more over its base around the largest model than around the smallest.",
        "lower": "The vote gains less over its base around the largest model than around the smallest.",
        "unclear": "The vote's gains around the smallest and the largest model are not told apart.",
    }
    return f"{said[gains]} Models differ in more than their size, so none of this is its effect alone."


def _vote_sentences(models: Sequence[Regime]) -> Iterator[str]:
    by_kind: dict[Kind, list[str]] = {}
    for each in models:
        kind = verdict(each.vote_minus_base, "the vote", "the base").kind
        by_kind.setdefault(kind, []).append(f"{each.name} ({points(each.vote_minus_base)} points)")
    words: dict[Kind, str] = {
        "better": "On the test split the vote is better than its base around",
        "worse": "On the test split the vote is worse than its base around",
        "not distinguishable": "The vote is not distinguishable from its base around",
    }
    for kind, said in words.items():
        if names := by_kind.get(kind):
            yield f"{said} {_listed(names)}."


def _base_sentences(found: Regimes) -> Iterator[str]:
    """Say where a density is not comparable: over a base that leaves no room, or over one that anything beats."""
    full = [each.name for each in found.models if each.base_selection.value > 1 - found.margin_points / 100]
    if full:
        yield (
            f"Nothing can be {found.margin_points} points above the base of {_listed(full)}, so a density of 0 there "
            "says nothing."
        )
    lowest, highest = (pick(found.models, key=lambda each: each.base_selection.value) for pick in (min, max))
    if lowest.base_selection.high < highest.base_selection.low:
        yield (
            f"Each density is over the model's own base, and these differ: {percent(lowest.base_selection.value)} "
            f"({_short(lowest)}) to {percent(highest.base_selection.value)} ({_short(highest)}) on the selection "
            "split. A base that scores little is easily beaten; what candidates reach is in the tables."
        )


def _floor_sentences(found: Regimes) -> Iterator[str]:
    if (floor := found.floor) is None:
        return
    yield (
        f"The floor has random weights: base {percent(floor.base)}, vote {percent(floor.vote)} on the test split, and "
        f"{_share(floor.density(found.margin_points))} of its candidates {found.margin_points} points above its base."
    )
    clear = [each.name for each in found.trained if each.vote.low > floor.vote.high]
    not_clear = [each.name for each in found.trained if each.name not in clear]
    what = figure_name(is_graded=found.is_graded)
    if clear:
        yield f"The vote's {what} is above the floor's around {_listed(clear)}, by intervals that lie apart."
    if not_clear:
        yield f"The vote's {what} around {_listed(not_clear)} is not told from the floor's, or below it."


def _prompt_sentences(found: Regimes) -> Iterator[str]:
    models = found.trained
    for what, groups in (
        ("forms of prompt (chat templates)", _grouped(models, [each.prompt_form for each in models])),
        ("tokenizers", _grouped(models, [each.tokenizer for each in models])),
    ):
        if len(groups) > 1:
            yield f"The models have {len(groups)} {what}: {'; '.join(map(_listed, groups))}."


def _grouped(models: Sequence[Regime], keys: Sequence[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for each, key in zip(models, keys, strict=True):
        groups.setdefault(key, []).append(each.name)
    return list(groups.values())


def _short(model: Regime) -> str:
    return "the floor" if model.is_floor else model.name


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _share(found: Share) -> str:
    return f"{percent(found.value)} {_interval(found.low, found.high)}"


def _interval(low: float, high: float) -> str:
    return f"[{100 * low:.1f}, {100 * high:.1f}]"
