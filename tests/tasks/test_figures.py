"""Every plot can be drawn, at its limits too, on paper and for a page; and a page's plot has no colour of its own."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import polars as pl
import pytest
from matplotlib.figure import Figure

from thickets.tasks.evaluation.thicket import sigma_counts, sigma_scores
from thickets.tasks.figures import (
    PAGE,
    PRINT,
    Theme,
    agreement_map,
    cost_accuracy,
    density_curve,
    gains_bar,
    k_curve,
    merge_radii,
    score_by_sigma,
)
from thickets.tasks.figures.curves import chosen_curve
from thickets.tasks.results.evaluation import AnswerTokens, Control, CurvePoint, Evaluation
from thickets.tasks.results.merging import MergeChoice, MergeTrial
from thickets.tasks.results.thicket import Agreement, GainSplit
from thickets.tasks.statistics import accuracy, paired_difference


def board(n: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"sigma": [0.001 * (1 + i % 3) for i in range(n)], "points": [1000 * ((7 * i) % 31) for i in range(n)]}
    )


def scores(n: int, theme: Theme) -> Figure:
    frame = board(n).with_columns(accuracy=pl.col("points") / 31_000)
    return score_by_sigma(frame, accuracy(12, 31), theme)


def density(n: int, theme: Theme) -> Figure:
    questions = pl.DataFrame({"sigma": [0.001, 0.002, 0.003] * 31, "points": [1000] * 93, "squares": [10**6] * 93})
    return density_curve([sigma_scores(group, 12) for group in sigma_counts(board(n), questions)], theme)


def curve(k: int, theme: Theme) -> Figure:
    return k_curve([*points(k, "majority"), *points(k, "weighted")], evaluation(k), theme)


def points(k: int, rule: str) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(k=i, rule=rule, accuracy=accuracy(i % 9, 9)) for i in range(1, k + 1))


def evaluation(k: int) -> Evaluation:
    score, gap = accuracy(3, 9), paired_difference([True] * 3 + [False] * 6, [True] * 2 + [False] * 7)
    labels = ["costs $5 and $6", "_hidden", *(f"control {i}" for i in range(7))]
    return Evaluation(
        k=k,
        rule="majority",
        base=score,
        best_single=score,
        ensemble=score,
        ensemble_minus_base=gap,
        best_single_minus_base=gap,
        ensemble_minus_best_single=gap,
        test_curve=points(k, "majority"),
        n_tokens=AnswerTokens(base=9, best_single=9, ensemble=90),
        controls=tuple(
            Control(name="chance", label=label, accuracy=score, n_tokens=0, minus_base=gap, ensemble_minus=gap)
            for label in labels
        ),
    )


def agreement(k: int, theme: Theme) -> Figure:
    same = tuple(tuple(97 if i == j else (i * j) % 90 for j in range(k)) for i in range(k))
    return agreement_map(Agreement(n=97, n_same=same, mean=0.4), theme)


def cost(n: int, theme: Theme) -> Figure:
    return cost_accuracy([(f"row {i}", 1000 * i * i, accuracy(i, 9)) for i in range(n)], theme)


def gains(n: int, theme: Theme) -> Figure:
    return gains_bar(
        GainSplit(retained=n, format_fixed=1, reasoning_fixed=0, unclear_fixed=2, regressed=n // 2, still_wrong=3),
        theme,
    )


def merges(n: int, theme: Theme) -> Figure:
    """With `n` sizes of the best, each at three radii of its own, and a searched one."""
    trials = [
        MergeTrial(
            id=f"{k} {r}", label="", direction="best", k=k, radius=r * k**-0.5, accuracy=accuracy(5 * r % 19, 19)
        )
        for k in range(1, n + 1)
        for r in (1, 2, 5)
    ]
    tuned = MergeTrial(id="t", label="", direction="best", k=2, radius=0.9, accuracy=accuracy(15, 19), is_tuned=True)
    gap = paired_difference([True] * 10 + [False] * 9, [True] * 4 + [False] * 15)
    return merge_radii(MergeChoice(trials=(*trials, tuned), best=len(trials), minus_base=gap), theme)


CASES = [(scores, 3), (scores, 60), (scores, 5000), (density, 3), (density, 60), (curve, 1), (curve, 50),
         (agreement, 2), (agreement, 9), (agreement, 50), (cost, 1), (cost, 2), (cost, 9), (gains, 0), (gains, 900),
         (merges, 1), (merges, 12)
]  # fmt: skip


def drawn(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


@pytest.mark.parametrize(("draw", "n"), CASES)
def test_it_is_drawn_in_the_colours_of_its_theme(draw: Callable[[int, Theme], Figure], n: int) -> None:
    allowed = {theme: {*theme.series, theme.ink, theme.muted, theme.grid, theme.paper} for theme in (PAGE, PRINT)}
    for theme in (PAGE, PRINT):
        text = drawn(draw(n, theme))
        assert set(re.findall(r"#[0-9a-f]{6}\b", text)) <= allowed[theme]
        assert len(text) < 400_000


def test_a_title_is_for_paper_only() -> None:
    assert scores(9, PRINT).axes[0].get_title() == "Selection accuracy of every candidate"
    assert scores(9, PAGE).axes[0].get_title() == ""


def test_every_candidate_is_a_dot() -> None:
    lines = [line for line in scores(60, PRINT).axes[0].get_lines() if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in lines) == 60
    assert len({(x, y) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}) == 60


def test_the_curve_shown_is_the_one_that_was_chosen() -> None:
    both = [*points(5, "weighted"), *points(5, "majority")]
    assert chosen_curve(both, evaluation(5)) == list(points(5, "majority"))


def test_labels_of_the_data_are_taken_literally() -> None:
    [legend] = curve(3, PRINT).legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert r"costs \$5 and \$6, test" in labels
    assert " _hidden, test" in labels


def test_all_pairs_of_experts_are_on_the_map() -> None:
    texts = [text.get_text() for text in agreement(9, PRINT).axes[0].texts]
    assert len(texts) == 36
    squares = agreement(50, PRINT).axes[0].patches
    assert sum(len(patch.get_path().vertices) for patch in squares) == 5 * 1225


def test_every_row_has_its_number_and_its_place() -> None:
    axes = cost(9, PRINT).axes[0]
    assert [text.get_text() for text in axes.texts] == [str(i) for i in range(1, 10)]
    left, right = axes.get_xlim()
    assert left < 0
    assert right > 64_000


def test_every_merge_is_a_point_by_its_direction_the_base_a_line_and_the_best_has_a_ring() -> None:
    axes = merges(3, PRINT).axes[0]
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    assert list(lines) == ["1 best", "2 best", "3 best", "coefficients searched", "the best", "base"]
    assert [len(lines[f"{k} best"].get_xdata()) for k in (1, 2, 3)] == [3, 3, 3]
    assert lines["the best"].get_xdata() == lines["coefficients searched"].get_xdata()
    assert lines["base"].get_ydata()[0] == pytest.approx((15 - 6) / 19)
    low, high = axes.get_xlim()
    assert low < 3**-0.5
    assert high > 5


def test_what_was_fixed_in_format_is_told_by_more_than_its_colour() -> None:
    hatched = {patch.get_hatch() for patch in gains(900, PRINT).axes[0].patches if not patch.get_fill()}
    assert {"///", "...", "xxx", None} <= hatched
