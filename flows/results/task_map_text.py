"""The sentences on a map of candidates by tasks: what it shows, and what so few candidates and questions cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import NormalDist

from thickets.flows.results.comparison import Comparison
from thickets.tasks.results.discordance import SigmaDiscordance
from thickets.tasks.results.task_map import SigmaMap, TaskMap
from thickets.tasks.results.text import percent

_Z = NormalDist().inv_cdf(0.975)


def headline(found: Comparison) -> str:
    """Return what the discordance says, all sigmas in one sentence."""
    table = found.discordance
    if table.reason:
        return f"The candidates cannot be compared across the tasks: {table.reason}."
    kinds: dict[str, list[float]] = {}
    for each in table.sigmas:
        kinds.setdefault(_kind(each), []).append(each.sigma)
    parts = [f"at sigma {_listed([f'{sigma:g}' for sigma in sigmas])} {what}" for what, sigmas in kinds.items()]
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def map_sentences(found: TaskMap, table: Comparison) -> list[str]:
    """Return the verdicts on a map: per sigma, then on the experts."""
    said = [
        sentence
        for each in found.sigmas
        for sentence in (
            *_ranking(each, table),
            _told(each, found),
            *_luck(each, found),
            *_overlap(each, found),
        )
    ]
    return [*said, *_transfers(found)]


def least_correlation(n_candidates: int) -> float | None:
    """Return the rank correlation that so many candidates tell from none at 95 %; None for fewer than 4."""
    return math.tanh(_Z / math.sqrt(n_candidates - 3)) if n_candidates > 3 else None


def _kind(each: SigmaDiscordance) -> str:
    if each.is_more_than_noise is None:
        return "it cannot be told whether the tasks want different candidates"
    if each.is_more_than_noise:
        return "the tasks want different candidates, beyond what noise explains"
    return "the tasks rank the candidates no more differently than noise explains"


def _ranking(each: SigmaMap, table: Comparison) -> Iterator[str]:
    known = next((row for row in table.discordance.sigmas if row.sigma == each.sigma), None)
    if known is None:
        return
    where, n = f"sigma {each.sigma:g}", known.n_candidates
    for left in known.left_out:
        yield f"At {where}, {left.task} is left out of the discordance, since {left.reason}."
    if known.value is None:
        yield f"At {where} there is no discordance: {known.reason}."
        return
    ends = "" if known.low is None or known.high is None else f" [{known.low:.2f}, {known.high:.2f}]"
    floor = "" if known.floor is None else f", where noise alone gives {known.floor:.2f}"
    told = least_correlation(n)
    if told is None:
        return
    pairs = [known.correlations[a][b] for a, b in combinations(range(len(known.tasks)), 2)]
    clear = sum(abs(value) > told for value in pairs)
    yield (
        f"At {where} the discordance is {known.value:.2f}{ends}{floor}. {n} candidates tell a rank correlation from "
        f"none beyond ±{told:.2f}: {clear} of {_counted(len(pairs), 'pair')} of tasks, "
        f"{0.05 * len(pairs):.1f} by chance alone."
    )


def _told(each: SigmaMap, found: TaskMap) -> str:
    cells = [cell for row in each.candidates for cell in zip(row.over_base, row.differs, strict=True)]
    above = sum(differs and gap > 0 for gap, differs in cells)
    below = sum(differs and gap < 0 for gap, differs in cells)
    return (
        f"At sigma {each.sigma:g}, {above + below} of {_counted(len(cells), 'cell')} of the map "
        f"({len(each.candidates)} candidates, {len(found.tasks)} tasks) are told from the base by McNemar's test at "
        f"5 %: {above} above it, {below} below. Were all as good as the base, at most {0.05 * len(cells):.1f} would be."
    )


def _luck(each: SigmaMap, found: TaskMap) -> Iterator[str]:
    lucky = []
    for task, best in zip(found.tasks, each.best, strict=True):
        if best.is_more_than_luck:
            yield (
                f"At sigma {each.sigma:g}, the best candidate on {task.task} ({percent(best.observed.value)} of the "
                f"selection questions, base {percent(task.base)}) is more than luck, which alone would give "
                f"{percent(best.by_luck)}; on new questions expect {percent(best.corrected)} "
                f"[{100 * best.corrected_low:.1f}, {100 * best.corrected_high:.1f}]."
            )
        else:
            lucky.append(task.task)
    if lucky:
        who = "every task" if len(lucky) == len(found.tasks) else _listed(lucky)
        yield f"At sigma {each.sigma:g}, the best candidate on {who} may be luck alone."


def _overlap(each: SigmaMap, found: TaskMap) -> Iterator[str]:
    if each.overlap is None:
        yield f"At sigma {each.sigma:g} there are too few candidates for a quarter of them to be compared."
        return
    shared = each.overlap
    pairs = [
        (shared.shares[a][b], a, b)
        for a, b in combinations(range(len(found.tasks)), 2)
        if shared.shares[a][b] is not None
    ]
    if not pairs:
        return
    outside = [(value, a, b) for value, a, b in pairs if shared.is_outside(a, b)]
    mean = sum(value or 0 for value, _, _ in pairs) / len(pairs)
    named = "".join(
        f"; {found.tasks[a].task} and {found.tasks[b].task} have {percent(value or 0, 0)}" for value, a, b in outside
    )
    yield (
        f"At sigma {each.sigma:g}, two tasks have {percent(mean, 0)} of their {shared.n_best} best candidates in "
        f"common on average, where chance gives {percent(shared.by_chance, 0)}; {len(outside)} of "
        f"{_counted(len(pairs), 'pair')} {'lies' if len(outside) == 1 else 'lie'} outside what chance gives in "
        f"95 %{named}."
    )


def _transfers(found: TaskMap) -> Iterator[str]:
    own = [each for each in found.transfers if each.experts_of == each.on]
    others = [each for each in found.transfers if each.experts_of != each.on]
    for group, what in ((own, "their own task's test split"), (others, "another task's questions")):
        if group:
            better = sum(each.difference.is_clear and each.difference.value > 0 for each in group)
            worse = sum(each.difference.is_clear and each.difference.value < 0 for each in group)
            yield (
                f"Asked one by one on {what}, a task's experts are on average better than the base in {better}, "
                f"worse in {worse} and not distinguishable in {len(group) - better - worse} of "
                f"{_counted(len(group), 'case')}."
            )


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
