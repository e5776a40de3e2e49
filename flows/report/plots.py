"""The plots of a run: one list for the report, for MLflow and for the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl
from matplotlib.figure import Figure

from thickets.flows.results.distillation import DistillSummary
from thickets.flows.results.rivals import RivalSummary
from thickets.flows.results.rivals_text import rival_lines
from thickets.flows.results.rows import result_rows
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.evaluation.replies import replies_on_test
from thickets.tasks.figures import (
    Theme,
    agreement_map,
    cost_accuracy,
    density_curve,
    gains_bar,
    k_curve,
    merge_radii,
    score_by_sigma,
)
from thickets.tasks.problems import Problem
from thickets.tasks.problems.base import HasFigure, Replies
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.results.merging import MergeChoice
from thickets.tasks.results.text import amount, figure_name, percent
from thickets.tasks.results.thicket import ThicketDescription


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its heading and texts.

    Attributes:
        name: File name without ending; unique within a report.
        title: Heading.
        caption: How to read it, in a sentence or two.
        alt: Description of the plot for screen readers.
        draw: Draws the plot in the colours of a theme.
        is_themed: Whether `draw` uses the theme; a plot that does not gets a white background.
        is_wide: Whether the plot takes a whole row; other plots stand side by side.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Theme], Figure]
    is_themed: bool = True
    is_wide: bool = False


def plots(summary: RunSummary, board: pl.DataFrame | None) -> list[Plot]:
    """Return every plot that a run has the figures for.

    Args:
        summary: The result of the run.
        board: sigma and mean_score of every candidate on the questions that all candidates were asked; None without
            scores.
    """
    found = [_k_curve(summary)]
    if board is not None and board.height:
        found.insert(0, _score_by_sigma(summary, board))
    found.insert(1, _density(summary.thicket, summary.common_questions))
    if len(summary.thicket.agreement.n_same) > 1:
        found.append(_agreement(summary.thicket))
    if summary.merge is not None:
        found.append(_merges(summary.merge))
    found += [_cost(summary), _gains(summary.thicket)]
    return found


def own_plots(problem: Problem, summary: RunSummary, scores: ScoreQueries) -> list[Plot]:
    """Return the problem's own plot of the answers to the test split; an empty list if it has none."""
    if not isinstance(problem, HasFigure):
        return []
    replies = replies_on_test(
        scores, experts_of(summary), summary.evaluation.rule, consensus=Consensus(summary.evaluation.metric)
    )
    return [
        Plot(
            "predictions",
            "Predictions",
            "Test questions in their order, none of them picked: what is right, and what the base, candidates drawn at "
            "random, the experts and their vote make of it.",
            f"Predictions of the base, the experts and their vote for the first {len(replies)} test questions.",
            partial(_draw, problem, replies),
            is_themed=False,
            is_wide=True,
        )
    ]


def _score_by_sigma(summary: RunSummary, board: pl.DataFrame) -> Plot:
    rows = "; ".join(
        f"sigma {row.sigma:g}: mean {percent(row.mean_accuracy)}, best {percent(row.max_accuracy)}"
        for row in summary.sigmas
    )
    what = figure_name(is_graded=summary.is_graded)
    return Plot(
        "score_by_sigma",
        "Score by sigma",
        f"Every candidate on {summary.common_questions}; equal scores lie side by side, the bar is the median. "
        "Candidates above the dashed line beat the base there, but the highest of many noisy scores is partly luck.",
        f"Dot plot of the {what} of {board.height} candidates on {summary.common_questions}. "
        f"Base {percent(summary.base_selection)}. {rows}.",
        partial(score_by_sigma, board.select("sigma", accuracy="mean_score"), summary.base_selection, figure_name=what),
    )


def _density(thicket: ThicketDescription, questions: str) -> Plot:
    rows = "; ".join(
        f"sigma {row.sigma:g}: " + ", ".join(f"+{p.margin_points}: {percent(p.share.value, 0)}" for p in row.density)
        for row in thicket.sigmas
    )
    return Plot(
        "density_curve",
        "Solution density",
        f"The share of a sigma's candidates that are at least m points above the base on {questions}. A curve "
        "that stays high to the right is a dense thicket; bands are 95 % Wilson intervals over the candidates drawn.",
        f"Line chart of the share of candidates by margin over the base. {rows}.",
        partial(density_curve, thicket.sigmas),
    )


def _k_curve(summary: RunSummary) -> Plot:
    found = summary.evaluation
    what = figure_name(is_graded=summary.is_graded)
    controls = "".join(f", {control.label} {percent(control.accuracy.value)}" for control in found.controls)
    return Plot(
        "k_curve",
        f"{what.capitalize()} against K",
        "Of the sizes tried, K is the best on the validation curve; the test curve was not used to choose it. The vote "
        "is worth its tokens where the test curve is above the lines of its rivals. Bands: 95 % Wilson intervals.",
        f"Line chart of the vote's {what} for 1 to {found.k} experts. Test split: {percent(found.ensemble)} at "
        f"K = {found.k}, base {percent(found.base.value)}{controls}.",
        partial(k_curve, summary.validation_curve, found),
    )


def _agreement(thicket: ThicketDescription) -> Plot:
    agreement = thicket.agreement
    k = len(agreement.n_same)
    pairs = [100 * agreement.n_same[i][j] / agreement.n for i in range(k) for j in range(i)]
    shown = "On how many test questions, in percent, each pair of experts gives the same answer."
    if agreement.metric is not None:
        shown = f"How similar the texts of each pair of experts are ({agreement.metric}), mean over the test questions."
    return Plot(
        "agreement_map",
        "Agreement of the experts",
        f"{shown} A vote needs members that are good and differ: where all agree, voting cannot change anything.",
        f"Map of the agreement of {k} experts in pairs, from {min(pairs):.0f} to {max(pairs):.0f} %, "
        f"mean {sum(pairs) / len(pairs):.0f} %.",
        partial(agreement_map, agreement),
    )


def _merges(choice: MergeChoice) -> Plot:
    what = figure_name(is_graded=choice.chosen.accuracy.is_graded)
    rows = "; ".join(f"{trial.label}: {percent(trial.accuracy)}" for trial in choice.trials)
    how = "clearly above the base." if choice.minus_base.low > 0 else "not clearly above the base: that may be luck."
    fate = f"is {'kept' if choice.is_accepted else 'not kept'}: it is {how}"
    return Plot(
        "merge_radii",
        "Merges tried",
        f"One model made of many candidates, on the {choice.chosen.accuracy.n} validation questions, by its distance "
        f"from the base. Several were tried on the same questions, which flatters the best. It {fate}",
        f"Line chart of the {what} of {len(choice.trials)} merges by radius. Base "
        f"{percent(choice.chosen.accuracy.value - choice.minus_base.value)}. {rows}.",
        partial(merge_radii, choice),
    )


def _cost(summary: RunSummary) -> Plot:
    rows = [(row.label, row.n_tokens, row.accuracy) for row in result_rows(summary.evaluation)]
    what = figure_name(is_graded=summary.is_graded)
    spoken = "; ".join(f"{label}: {n_tokens:,} tokens, {percent(score)}" for label, n_tokens, score in rows)
    return Plot(
        "cost_accuracy",
        f"Cost against {what}",
        "Every row of the table: tokens it generated on the test split, and what they bought. Up and to the left is "
        "better. Bars: 95 % Wilson intervals.",
        f"Scatter plot of tokens and {what}. {spoken}.",
        partial(cost_accuracy, rows),
    )


def rivals_plot(rivals: Sequence[RivalSummary], students: Sequence[DistillSummary]) -> Plot:
    """Return what it took to get base, best expert, merge, vote, students and rivals, against what they are worth.

    Args:
        rivals: Of one run, at least one.
        students: Of the same run.
    """
    rows = [
        (line.label, 0 if line.to_get is None else line.to_get.n_tokens, line.accuracy) for line in rival_lines(rivals)
    ]
    for each in students:
        cost = each.cost.of("student") if each.cost else None
        if each.student is not None and cost is not None:
            name = "student" if len(students) == 1 else f"student {each.distillation_id}"
            rows.append((name, cost.get.n_tokens, each.student.test))
    what = figure_name(is_graded=any(score.is_graded for _, _, score in rows))
    spoken = "; ".join(f"{label}: {amount(n_tokens)} tokens, {percent(score)}" for label, n_tokens, score in rows)
    return Plot(
        "cost_to_get",
        f"Cost to get against {what}",
        "Tokens generated, read and trained on until each was chosen, and its score on the test split. Up and to the "
        "left is better. Bars: 95 % Wilson intervals.",
        f"Scatter plot of the tokens it took to get each model and its {what}. {spoken}.",
        partial(cost_accuracy, rows, tokens="tokens until it was chosen"),
    )


def _gains(thicket: ThicketDescription) -> Plot:
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in thicket.gains.model_dump().items())
    return Plot(
        "gains_bar",
        "What became of each question",
        "Base against ensemble on every test question. Fixed in format: the base's reply names the right answer, but "
        "not where or how it was asked to. Fixed in reasoning: it is nowhere in the reply.",
        f"Stacked bar of the test questions: {counts}.",
        partial(gains_bar, thicket.gains),
    )


def _draw(problem: HasFigure, replies: tuple[Replies, ...], theme: Theme) -> Figure:
    return problem.figure(replies)
