"""Plots of a run in progress, from what is scored so far: those of the report, drawn by the same code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl
from matplotlib.figure import Figure

from thickets.flows.config.file import load_config
from thickets.flows.report.svg import inline_svg
from thickets.flows.view.judged import Explainer
from thickets.flows.view.opened import OpenRun
from thickets.storage.errors import InputError
from thickets.tasks.evaluation.ensemble import curve_points
from thickets.tasks.evaluation.thicket import sigma_scores
from thickets.tasks.evaluation.voting import ballots
from thickets.tasks.figures import PAGE, Theme, density_curve, k_curve_so_far, score_by_sigma
from thickets.tasks.problems.consensus import consensus_of
from thickets.tasks.results.evaluation import CurvePoint
from thickets.tasks.results.text import figure_name
from thickets.tasks.results.thicket import SigmaScores
from thickets.tasks.selection.luck import sigma_counts
from thickets.tasks.selection.ranking import rank_by
from thickets.tasks.statistics import accuracy

PLOTS = (
    (
        "score_by_sigma",
        "Score by sigma so far",
        "Every candidate so far on the selection split; the bar is the median. It grows while the run goes on.",
        "Dot plot of the candidates so far.",
    ),
    (
        "density_curve",
        "Solution density so far",
        "The share of a sigma's candidates so far that are at least m points above the base on the same questions. "
        "Bands are 95 % Wilson intervals over the candidates drawn.",
        "Line chart of the share of the candidates so far by margin over the base.",
    ),
    (
        "k_curve",
        "The vote against K so far",
        "On the validation split, of the candidates that have answered it so far; K is chosen there. The test split, "
        "which tells what the vote is worth, comes last.",
        "Line chart of the vote's score by the number of experts so far.",
    ),
)
"""Name, heading, caption and description of each."""

# A candidate in progress has answered fewer questions than others, and so has one that racing has dropped. Only those
# with most answers are drawn, on the questions that all of them have answered, and the base on the same ones.
_SAME = """
WITH counted AS (
    SELECT candidate_id, count(*) AS n
    FROM scores
    JOIN candidates USING (run_id, candidate_id)
    WHERE split = $split AND position >= 0
    GROUP BY candidate_id
),

most AS (SELECT candidate_id FROM counted WHERE n = (SELECT max(n) FROM counted)),

asked AS (
    SELECT example_id
    FROM scores
    JOIN most USING (candidate_id)
    WHERE split = $split
    GROUP BY example_id
    HAVING count(*) = (SELECT count(*) FROM most)
),

same AS (
    SELECT s.candidate_id, c.sigma, s.example_id, s.correct, s.score
    FROM scores AS s
    JOIN candidates AS c USING (run_id, candidate_id)
    JOIN asked USING (example_id)
    WHERE s.split = $split AND (s.candidate_id = 'base' OR s.candidate_id IN (SELECT candidate_id FROM most))
)
"""
_SUMS = (
    "count_if(correct)::INTEGER AS n_correct, count(*)::INTEGER AS n, sum(score)::BIGINT AS points, "
    "sum(score::BIGINT * score)::BIGINT AS squares"
)


@dataclass(frozen=True, slots=True)
class Same:
    """Scores on the same questions of a split, of the candidates with most answers to it.

    Attributes:
        board: candidate_id, sigma, n_correct, n, points, squares.
        base: The last four of the base.
        questions: Ids.
    """

    board: pl.DataFrame
    base: tuple[int, int, int, int]
    questions: tuple[str, ...]

    @property
    def is_graded(self) -> bool:
        """Whether an answer scores between wrong and right."""
        return any(accuracy(*sums).is_graded for sums in (self.base, self.board.sum().row(0)[2:]))


def draw_so_far(run: OpenRun, rules: Explainer, name: str) -> str | None:
    """Return a plot of a run in progress as an SVG element; None if it has no plot of that name.

    Args:
        run: Open.
        rules: The run's; without its problem nobody knows how answers vote, and there is no curve.
        name: One of `PLOTS`.
    """
    match name:
        case "score_by_sigma":
            return _scores(same_questions(run, "selection"))
        case "density_curve":
            return _density(run)
        case "k_curve":
            return _curve(run, rules, same_questions(run, "validation"))
    return None


def same_questions(run: OpenRun, split: str) -> Same | None:
    """Return the scores that can be compared so far; None before there are any, the base's among them."""
    mine = {"split": split}
    rows = run.reader.query(
        f"{_SAME} SELECT candidate_id, any_value(sigma) AS sigma, {_SUMS} FROM same GROUP BY ALL ORDER BY candidate_id",
        mine,
    )
    is_base = pl.col("candidate_id") == "base"
    base, board = rows.filter(is_base), rows.filter(~is_base)
    questions = run.reader.query(f"{_SAME} SELECT example_id FROM asked", mine)["example_id"].to_list()
    if not board.height or not base.height or base["n"][0] < len(questions):
        return None
    return Same(board, base.select("n_correct", "n", "points", "squares").row(0), tuple(questions))


def _scores(same: Same | None) -> str:
    if same is None:
        return nothing_yet()
    board = same.board.select("sigma", accuracy=pl.col("points") / (1000 * pl.col("n")))
    what = figure_name(is_graded=same.is_graded)
    alt = f"{board.height} candidates so far on {len(same.questions)} questions."
    return _svg(partial(score_by_sigma, board, accuracy(*same.base), figure_name=what), "score_by_sigma", alt)


def _density(run: OpenRun) -> str:
    rows = density_so_far(run)
    if not rows:
        return nothing_yet()
    alt = f"{sum(row.n_candidates for row in rows)} candidates so far."
    return _svg(partial(density_curve, rows), "density_curve", alt)


def density_so_far(run: OpenRun) -> list[SigmaScores]:
    """Describe each sigma's candidates so far; an empty list before there is anything to compare."""
    same = same_questions(run, "selection")
    if same is None:
        return []
    grouped = f"SELECT sigma, example_id, {_SUMS} FROM same WHERE candidate_id <> 'base' GROUP BY ALL"
    sums = run.reader.query(f"{_SAME} {grouped}", {"split": "selection"})
    n_correct, _, points, _ = same.base
    return [sigma_scores(group, n_correct, points) for group in sigma_counts(same.board, sums)]


def _curve(run: OpenRun, rules: Explainer, same: Same | None) -> str:
    if same is None:
        return nothing_yet("votes begin with the validation split")
    points = votes_so_far(run, rules, same)
    if not points:
        return nothing_yet("how its answers vote is in code that is not read here")
    what = figure_name(is_graded=same.is_graded)
    alt = f"{len(points)} experts so far, on {len(same.questions)} validation questions."
    return _svg(partial(k_curve_so_far, points, accuracy(*same.base), figure_name=what), "k_curve", alt)


def votes_so_far(run: OpenRun, rules: Explainer, same: Same) -> tuple[CurvePoint, ...]:
    """Let those vote that have answered so far, by the first of the run's methods and rules.

    Args:
        run: Open.
        rules: The run's.
        same: Scores on the validation split.

    Returns:
        A point for every K; none where the run's rules cannot be had.
    """
    if rules.judge is None:
        return ()
    try:
        wanted = load_config(str(run.folder.config)).selection
    except (InputError, OSError):
        return ()
    ranked = rank_by(run.reader, wanted.methods[0], wanted.k_values[-1])
    here = ranked.filter(pl.col("candidate_id").is_in(same.board["candidate_id"].to_list()))
    here = here.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias("rank"))
    cast = ballots(run.reader, "validation", here).filter(pl.col("example_id").is_in(same.questions))
    every_k = range(1, here.height + 1)
    return curve_points(cast, every_k, wanted.votes[0], wanted.methods[0], consensus_of(rules.judge.problem))


def _svg(draw_in: Callable[[Theme], Figure], name: str, alt: str) -> str:
    return str(inline_svg(draw_in(PAGE), name, alt, PAGE))


def nothing_yet(words: str = "nothing to draw yet") -> str:
    """Return a picture that says so, until there is something to draw."""
    return (
        '<svg viewBox="0 0 460 60" class="themed"><text x="4" y="34" font-size="14" fill="var(--muted)">'
        f"{words}</text></svg>"
    )
