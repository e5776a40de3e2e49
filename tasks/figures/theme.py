"""What all plots share: size, type, and colours that are either fixed or left to the page a plot is put into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from thickets.tasks.results.intervals import Accuracy, Share

# One unit of an SVG is a point: 400 wide, a plot is legible on a phone, where a unit is a little less than a pixel.
WIDTH_IN = 400 / 72
PNG_DPI = 180
TICK_SIZE, LABEL_SIZE, TITLE_SIZE = 11, 11.5, 12

# Told apart without their colour too.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("--", ":", "-.", (0, (7, 2)), (0, (1, 3)), (0, (5, 2, 1, 2, 1, 2)))


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours by their job; what is behind a plot is never painted in a page.

    Attributes:
        ink: Text that matters.
        muted: Ticks, axis labels, reference lines.
        grid: Lines that should hardly be seen.
        paper: Behind everything.
        series: Colours of what is compared, in the order they are taken.
        has_title: Whether the plot carries its own title; a page has headings for that.
    """

    ink: str
    muted: str
    grid: str
    paper: str
    series: tuple[str, ...]
    has_title: bool

    def color(self, index: int) -> str:
        """The colour of the series with this index."""
        return self.series[index % len(self.series)]

    def variables(self) -> Mapping[str, str]:
        """Name by colour: ``ink``, ``series-0`` and so on."""
        single = {getattr(self, field.name): field.name for field in fields(self) if field.type == "str"}
        return single | {color: f"series-{index}" for index, color in enumerate(self.series)}


# Okabe and Ito's colours, told apart by readers with any colour vision; the pale ones a little darker, to be seen as
# thin lines on white.
PRINT = Theme(
    ink="#1b1f24",
    muted="#57606a",
    grid="#d8dee4",
    paper="#ffffff",
    series=("#0072b2", "#d55e00", "#008060", "#a8518a", "#8a6d00", "#2a7fa8"),
    has_title=True,
)

# Stand-ins that no plot uses otherwise: the page replaces each by a variable of its style sheet, light or dark.
PAGE = Theme(
    ink="#fe0100",
    muted="#fe0101",
    grid="#fe0102",
    paper="#fe0103",
    series=("#fe0200", "#fe0201", "#fe0202", "#fe0203", "#fe0204", "#fe0205"),
    has_title=False,
)


def new_figure(theme: Theme, title: str, height_in: float = 4.2) -> tuple[Figure, Axes]:
    """An empty plot in the theme's colours. They are set one by one: Matplotlib's settings are global, and shared."""
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=PNG_DPI, layout="constrained")
    axes = figure.add_subplot()
    if theme.has_title:
        figure.set_facecolor(theme.paper)
        axes.set_title(title, color=theme.ink, fontsize=TITLE_SIZE)
    else:
        figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(which="both", colors=theme.muted, labelsize=TICK_SIZE, length=3)
    for name, spine in axes.spines.items():
        spine.set_color(theme.muted)
        spine.set_linewidth(0.8)
        spine.set_visible(name in ("left", "bottom"))
    axes.set_axisbelow(True)
    return figure, axes


def label_axes(axes: Axes, theme: Theme, x: str = "", y: str = "") -> None:
    """Label the axes."""
    axes.set_xlabel(x, color=theme.muted, fontsize=LABEL_SIZE)
    axes.set_ylabel(y, color=theme.muted, fontsize=LABEL_SIZE)


def as_percent(axes: Axes, theme: Theme) -> None:
    """A vertical axis of shares, written as percentages, with faint lines across."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.grid(axis="y", color=theme.grid, linewidth=0.7)


def add_legend(
    figure: Figure, theme: Theme, columns: int = 1, entries: Mapping[str, Artist | tuple[Artist, ...]] | None = None
) -> None:
    """A legend below the plot, where it hides nothing.

    Args:
        figure: The plot.
        theme: Its colours.
        columns: Entries side by side.
        entries: What is explained, by label; several artists lie on top of each other. All that is labelled otherwise.
    """
    chosen = {} if entries is None else {"handles": list(entries.values()), "labels": list(entries)}
    figure.legend(
        **chosen,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        labelcolor=theme.ink,
        fontsize=TICK_SIZE,
        handlelength=2.4,
    )


def legend_height_in(n_rows: int) -> float:
    """Return the height that a legend of `n_rows` rows adds to a plot."""
    return 0.235 * n_rows


def interval_bars(found: Sequence[Accuracy | Share]) -> list[list[float]]:
    """Return how far the intervals reach below and above their values, `[2, n]`, as Matplotlib's `yerr`."""
    # Not below 0, which rounding could make of an interval that ends at the value.
    return [[max(0.0, each.value - each.low) for each in found], [max(0.0, each.high - each.value) for each in found]]


def literal(text: str) -> str:
    """A text of the data as it is: Matplotlib takes dollar signs for mathematics, and drops labels with a leading _."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
