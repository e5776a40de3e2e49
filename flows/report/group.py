"""The report of several problems: the same candidates on every task, side by side, as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from thickets.flows.report.plots import Plot
from thickets.flows.report.regimes import collect_regimes
from thickets.flows.report.render import PageValues, write_page
from thickets.flows.report.rounds import collect_rounds
from thickets.flows.report.write import check_target
from thickets.flows.results.comparison import ComparedRow, ComparedRun, Group
from thickets.flows.results.groups import GroupFolder, load_group, load_regimes, load_rounds
from thickets.flows.results.task_map import make_map
from thickets.flows.results.task_map_text import headline, map_sentences
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.tasks.figures.task_map import Shade, shade_words, shades, shown_rows, task_map
from thickets.tasks.figures.theme import PRINT
from thickets.tasks.results.discordance import SigmaDiscordance
from thickets.tasks.results.task_map import SigmaMap, TaskMap
from thickets.tasks.results.verdicts import Kind, verdict

# Figures of more candidates are left to SQL: the page would be megabytes of them.
_MOST_LISTED = 600


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task of the table of results, on its own test split.

    Attributes:
        task: Its label on this page.
        run: Its run.
        base: The base model.
        best: The best single expert.
        vote: The ensemble.
        kind: The verdict on the vote against the base.
    """

    task: str
    run: ComparedRun
    base: ComparedRow
    best: ComparedRow
    vote: ComparedRow
    kind: Kind


@dataclass(frozen=True, slots=True)
class GroupReport:
    """Everything on the page.

    Attributes:
        group: The runs and their comparison.
        headline: What the discordance says.
        rows: The table of results.
        found: The map; None without one, and then the headline has the reason.
        plots: A map per sigma.
        legend: Of the maps: what each shade stands for, above the base and below it.
        sentences: What can be said of the map, and what cannot.
        is_listed: Whether the candidates' figures are on the page.
        command: Writes the page again.
    """

    template: ClassVar[str] = "group.html.jinja"

    group: Group
    headline: str
    rows: tuple[TaskRow, ...]
    found: TaskMap | None
    plots: tuple[Plot, ...]
    legend: tuple[tuple[str, str, float], ...]
    sentences: tuple[str, ...]
    is_listed: bool
    command: str

    def discordance(self, sigma: float) -> SigmaDiscordance | None:
        """Return what is known of the rankings at a sigma."""
        known = self.group.comparison.discordance.sigmas
        return next((each for each in known if each.sigma == sigma), None)


def collect_group(group: Group, found: TaskMap | str) -> GroupReport:
    """Collect the values of a group's report.

    Args:
        group: The runs and their comparison.
        found: Their map, or the reason why there is none.
    """
    known = None if isinstance(found, str) else found
    runs = group.comparison.runs
    labels = [task.task for task in known.tasks] if known else []
    if len(labels) != len(runs):
        labels = [run.problem for run in runs]
    maps = [each for each in known.sigmas if each.candidates] if known else []
    return GroupReport(
        group=group,
        headline=headline(group.comparison),
        rows=tuple(_row(label, run) for label, run in zip(labels, runs, strict=True)),
        found=known,
        plots=tuple(map_plots(known)) if known else (),
        legend=tuple(_legend(shades(maps))),
        sentences=tuple(map_sentences(known, group.comparison)) if known else (),
        is_listed=sum(len(each.candidates) for each in maps) <= _MOST_LISTED,
        command=f"thickets report {group.group_id}",
    )


def map_plots(found: TaskMap) -> list[Plot]:
    """Return the map of each sigma, all in the same colours."""
    maps = [each for each in found.sigmas if each.candidates]
    scale = shades(maps)
    return [
        Plot(
            f"task_map_{place}",
            f"Sigma {each.sigma:g}",
            _thinned(each),
            _spoken(each, found),
            partial(task_map, each, found.tasks, scale),
        )
        for place, each in enumerate(maps)
    ]


def write_group_files(folder: GroupFolder, report: PageValues, plots: Sequence[Plot]) -> list[str]:
    """Write the report of a group, and its plots as figures; return the files' paths below its folder."""
    files = [write_page(report, folder.report), *draw_group_figures(folder, plots)]
    return [path.relative_to(folder.root).as_posix() for path in files]


def draw_group_figures(folder: GroupFolder, plots: Sequence[Plot]) -> list[Path]:
    """Draw plots into the group's folder, and return the files."""
    folder.figures.mkdir(parents=True, exist_ok=True)
    paths = []
    for plot in plots:
        paths.append(folder.figures / f"{plot.name}.png")
        plot.draw(PRINT).savefig(paths[-1])
    return paths


def group_report_again(home: Home, folder: GroupFolder, target: Path | None = None) -> Path:
    """Write the report of a group from what is stored.

    Raises:
        InputError: A run of the group is not there any more, or the file cannot be written.
    """
    if target is not None:
        check_target(target)
    try:
        return write_page(_collected(home, folder), target or folder.report)
    except OSError as error:
        raise InputError(f"--out: cannot write {target or folder.report}: {error.strerror or error}") from None


def _collected(home: Home, folder: GroupFolder) -> PageValues:
    if folder.regimes.is_file():
        return collect_regimes(load_regimes(folder))
    if folder.rounds.is_file():
        return collect_rounds(load_rounds(folder))
    group = load_group(folder)
    return collect_group(group, make_map(home, group.run_ids))


def _row(label: str, run: ComparedRun) -> TaskRow:
    rows = {row.name: row for row in run.rows}
    kind = verdict(run.gain, "the vote", "the base").kind
    return TaskRow(label, run, rows["base"], rows["best_single"], rows["ensemble"], kind)


def _legend(scale: Sequence[Shade]) -> list[tuple[str, str, float]]:
    below = [(shade_words(shade, -1), "series-1", shade.strength) for shade in reversed(scale)]
    return [*below, *((shade_words(shade, 1), "series-0", shade.strength) for shade in scale)]


def _thinned(each: SigmaMap) -> str:
    n_shown, n = len(shown_rows(each.candidates)), len(each.candidates)
    return "" if n_shown == n else f"{n_shown} of {n:,} candidates: all experts, and others at even distances."


def _spoken(each: SigmaMap, found: TaskMap) -> str:
    columns = []
    for place, task in enumerate(found.tasks):
        gaps = [row.over_base[place] for row in each.candidates]
        above = sum(gap > 0 for gap in gaps)
        columns.append(
            f"{task.task}: {above} above the base, {sum(gap < 0 for gap in gaps)} below, "
            f"from {100 * min(gaps):+.0f} to {100 * max(gaps):+.0f} points"
        )
    return f"Heat map of {len(each.candidates)} candidates by {len(found.tasks)} tasks. {'; '.join(columns)}."
