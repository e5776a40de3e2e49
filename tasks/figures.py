"""The plots of a run, as Matplotlib figures (no global state: safe in any thread, no display needed)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.results import Accuracy, CurvePoint, Evaluation

# Okabe-Ito colours: told apart by readers with any colour vision.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#666666"


def k_curve(validation: Sequence[CurvePoint], evaluation: Evaluation) -> Figure:
    """Accuracy of the vote against K: the validation curve K was chosen on, and the test curve up to the chosen K."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    chosen = [point for point in validation if (point.method, point.rule) == (evaluation.method, evaluation.rule)]
    _band(axes, chosen, _BLUE, "vote, validation (chooses K)")
    _band(axes, evaluation.test_curve, _ORANGE, "vote, test (reported, not used to choose)")
    base = evaluation.base
    axes.axhline(base.value, color=_GREY, linestyle="--", label="base, test")
    axes.axvline(evaluation.k, color=_GREEN, linestyle=":", label=f"chosen K = {evaluation.k}")
    axes.set(
        xlabel="K, number of experts that vote",
        ylabel="accuracy",
        title=f"Accuracy of the {evaluation.rule} vote against K, {evaluation.method} (bands: 95 % Wilson intervals)",
    )
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def score_by_sigma(accuracies: pl.DataFrame, base: Accuracy) -> Figure:
    """Every candidate's accuracy on the selection split, grouped by sigma, against the base.

    Args:
        accuracies: sigma and accuracy, one row per candidate.
        base: The base on the same split.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    groups = accuracies.sort("sigma").partition_by("sigma", as_dict=True, maintain_order=True)
    sigmas = [key[0] for key in groups]
    values = [group["accuracy"].to_numpy() for group in groups.values()]
    axes.boxplot(values, showfliers=False, medianprops={"color": _BLUE}, widths=0.5)
    jitter = np.random.default_rng(0)
    for place, points in enumerate(values, start=1):
        axes.plot(place + jitter.uniform(-0.16, 0.16, len(points)), points, "o", color=_BLUE, alpha=0.45, ms=4, mew=0)
    axes.set_xticks(
        range(1, len(sigmas) + 1), [f"{sigma:g}\n{len(v)} candidates" for sigma, v in zip(sigmas, values, strict=True)]
    )
    axes.axhline(base.value, color=_GREY, linestyle="--", label="base")
    axes.axhspan(base.low, base.high, color=_GREY, alpha=0.12, lw=0, label="base, 95 % Wilson interval")
    axes.set(xlabel="sigma", ylabel="accuracy on the selection split", title="Selection accuracy of every candidate")
    axes.grid(alpha=0.25, axis="y")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _band(axes: Axes, points: Sequence[CurvePoint], color: str, label: str) -> None:
    ks = [point.k for point in points]
    axes.plot(ks, [p.accuracy.value for p in points], "o-", color=color, label=label, ms=4)
    axes.fill_between(
        ks, [p.accuracy.low for p in points], [p.accuracy.high for p in points], color=color, alpha=0.13, lw=0
    )
