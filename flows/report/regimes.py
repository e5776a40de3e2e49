"""The report of several models: what surrounds each on the same problem, against its size, as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from thickets.flows.report.plots import Plot
from thickets.flows.results.regimes_text import (
    SIGMA_COLUMNS,
    headline,
    regimes_sentences,
    sigma_rows,
    title,
    vote_cost,
)
from thickets.tasks.figures.regimes import accuracy_by_size, density_by_size
from thickets.tasks.results.regimes import Regime, Regimes
from thickets.tasks.results.text import figure_name, percent
from thickets.tasks.results.verdicts import Kind, verdict


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of the table of results.

    Attributes:
        model: The model.
        title: Its name on this page.
        kind: The verdict on the vote against the base.
        to_get: Tokens until the vote's experts were found; empty where they are not known.
        to_use: Those of a vote, in multiples of the base's.
    """

    model: Regime
    title: str
    kind: Kind
    to_get: str
    to_use: str


@dataclass(frozen=True, slots=True)
class RegimesReport:
    """Everything on the page.

    Attributes:
        found: The models.
        headline: What their densities show.
        rows: The table of results.
        plots: Density and accuracy against size.
        sentences: What can be said, and what cannot.
        sigma_columns: Headings of the table by sigma.
        sigma_rows: Its rows.
        command: Writes the page again.
    """

    template: ClassVar[str] = "regimes.html.jinja"

    found: Regimes
    headline: str
    rows: tuple[ModelRow, ...]
    plots: tuple[Plot, ...]
    sentences: tuple[str, ...]
    sigma_columns: tuple[str, ...]
    sigma_rows: tuple[tuple[str, ...], ...]
    command: str


def collect_regimes(found: Regimes) -> RegimesReport:
    """Collect the values of the page."""
    return RegimesReport(
        found=found,
        headline=headline(found),
        rows=tuple(
            ModelRow(each, title(each), verdict(each.vote_minus_base, "the vote", "the base").kind, *vote_cost(each))
            for each in found.models
        ),
        plots=tuple(regimes_plots(found)),
        sentences=tuple(regimes_sentences(found)),
        sigma_columns=SIGMA_COLUMNS,
        sigma_rows=tuple(sigma_rows(found)),
        command=f"thickets report {found.group_id}",
    )


def regimes_plots(found: Regimes) -> list[Plot]:
    """Return density and accuracy against the number of parameters."""
    what = figure_name(is_graded=found.is_graded)
    aside = " At the left, apart, the floor: random weights." if found.floor else ""
    densities = "; ".join(f"{title(each)}: {_densities(each, found.margin_points)}" for each in found.models)
    scores = "; ".join(
        f"{title(each)}: base {percent(each.base)}, best single expert {percent(each.best_single)}, "
        f"vote {percent(each.vote)}"
        for each in found.models
    )
    return [
        Plot(
            "density_by_size",
            "Solution density",
            f"The share of a sigma’s candidates that are at least {found.margin_points} points above the model’s own "
            f"base on the selection split, with 95 % Wilson intervals.{aside}",
            f"Plot of solution density by model. {densities}.",
            partial(density_by_size, found),
        ),
        Plot(
            "accuracy_by_size",
            f"{what.capitalize()} on the test split",
            f"Base, the candidate with the best selection score, and the vote, with 95 % Wilson intervals.{aside}",
            f"Plot of {what} by model. {scores}.",
            partial(accuracy_by_size, found),
        ),
    ]


def _densities(model: Regime, margin_points: int) -> str:
    return ", ".join(
        f"{percent(model.density(margin_points, row.sigma).value, 0)} at sigma {row.sigma:g}" for row in model.sigmas
    )
