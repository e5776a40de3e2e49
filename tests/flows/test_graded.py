"""What is said of a run whose answers have scores between wrong and right; one of real answers is in tests/storage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.flows.summaries import N_SELECTION, N_TEST, a_summary
from thickets.flows.cli.tables_results import result_table, sigma_table
from thickets.flows.publish.tracking import _curve_metrics, _metrics, result_markdown
from thickets.flows.report.collect import collect
from thickets.flows.report.plots import plots
from thickets.flows.report.render import page as page_of
from thickets.flows.results.diagnosis import diagnose
from thickets.flows.results.sentences import findings, headlines
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import RunFolder
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.statistics import accuracy, accuracy_of, paired_difference, shares


def answers(mean: float, seed: int, n: int = N_TEST) -> pl.DataFrame:
    score = 250 * np.random.default_rng(seed).binomial(4, mean, n)
    return pl.DataFrame({"score": score, "correct": score >= 750})


@pytest.fixture(scope="module")
def summary() -> RunSummary:
    """Base 40 %, best single expert 50 %, vote 60 %, in parts; nobody has half of its answers right."""
    made = a_summary(chance=None)
    base, single, voted = (answers(mean, seed) for seed, mean in enumerate((0.4, 0.5, 0.6)))
    selection = accuracy_of(answers(0.4, 3, N_SELECTION))
    found = made.evaluation.model_copy(
        update={
            "base": accuracy_of(base),
            "best_single": accuracy_of(single),
            "ensemble": accuracy_of(voted),
            "ensemble_minus_base": paired_difference(shares(voted), shares(base)),
            "ensemble_minus_best_single": paired_difference(shares(voted), shares(single)),
        }
    )
    curve = tuple(
        point.model_copy(update={"accuracy": accuracy_of(answers(0.6, 4))}) for point in made.validation_curve
    )
    thicket = made.thicket.model_copy(update={"oracle": accuracy_of(answers(0.8, 5))})
    return made.model_copy(
        update={"evaluation": found, "validation_curve": curve, "base_selection": selection, "thicket": thicket}
    )


def test_a_run_is_graded_if_any_of_its_figures_is(summary: RunSummary) -> None:
    assert summary.is_graded
    assert not a_summary().is_graded
    assert RunSummary.model_validate_json(summary.model_dump_json()) == summary
    before = a_summary()
    stored = before.model_dump_json().replace(',"points":null', "").replace(',"is_graded":false', "")
    assert "points" not in stored.split("tracking")[0]
    assert RunSummary.model_validate_json(stored) == before  # of a version that knew no scores


def test_tables_are_headed_mean_score_and_say_how_many_are_right(summary: RunSummary) -> None:
    table = result_table(summary)
    headings = [str(column.header) for column in table.columns]
    assert headings[1:4] == ["test mean score [95 % Wilson]", "points over base [95 % paired bootstrap]", "correct"]
    assert f"{summary.evaluation.ensemble.n_correct}/{N_TEST}" in list(table.columns[3].cells)
    assert "mean score" in [str(column.header) for column in sigma_table(summary).columns]
    assert "test mean score [95 % Wilson]" in result_markdown(summary)
    assert f"{100 * summary.evaluation.base.share_right:.1f} % right" in result_markdown(summary)
    for frame in (result_table(a_summary()), sigma_table(a_summary())):
        assert not any("score" in str(column.header) for column in frame.columns)


def test_sentences_say_right_of_right_answers_only(summary: RunSummary) -> None:
    said = findings(summary)
    gap = summary.evaluation.ensemble_minus_base
    assert said[0].startswith("The ensemble is better than the base: ")
    assert f"points of the mean score on {N_TEST} test examples ({gap.n_better} higher, {gap.n_worse} lower)" in said[0]
    [best] = [line for line in said if "the most a vote could reach" in line]
    assert best.startswith("Two experts give the same answer to ")
    assert f"The best answer of {summary.evaluation.k} to each question would score " in best
    assert " is right on " not in " ".join(said)
    assert headlines(summary)[0].startswith("The ensemble is better than the base: ")
    assert diagnose(summary) is None


def test_candidates_without_a_right_answer_are_not_all_wrong_if_they_score(summary: RunSummary) -> None:
    scores = {0.003: (0, 0, 0)}
    wrong = a_summary(scores=scores, base_selection=0, ensemble=[False] * N_TEST, base=[False] * N_TEST)
    assert (found := diagnose(wrong)) is not None
    assert found.cause == "all wrong"
    partly = accuracy(0, N_SELECTION, 20_000, 10_000_000)
    best = wrong.thicket.best.model_copy(update={"observed": partly})
    some = wrong.model_copy(update={"thicket": wrong.thicket.model_copy(update={"best": best})})
    assert (found := diagnose(some)) is None or found.cause != "all wrong"


def test_metrics_tell_the_mean_score_from_the_share_that_is_right(summary: RunSummary) -> None:
    metrics = {metric.name: metric.value for metric in _metrics(summary)}
    found: Accuracy = summary.evaluation.ensemble
    assert metrics["test.ensemble.mean_score"] == found.value
    assert metrics["test.ensemble.mean_score_low"] == found.low
    assert metrics["test.ensemble.accuracy"] == found.share_right < found.value
    assert "test.ensemble.accuracy_low" not in metrics
    assert {metric.name.rpartition(".")[2] for metric in _curve_metrics(summary)} == {
        "accuracy_by_k",
        "mean_score_by_k",
    }
    plain = {metric.name for metric in _metrics(a_summary())}
    assert not any("mean_score" in name for name in plain)
    assert "test.ensemble.accuracy_low" in plain


def test_report_and_figures_say_mean_score(summary: RunSummary, tmp_path: Path) -> None:
    page = page_of(collect(RunFolder(tmp_path), summary, None))
    assert "test questions; mean score with its 95 % Wilson interval" in page
    assert "questions on which the ensemble scores higher" in page
    board = pl.DataFrame({"sigma": [0.003, 0.008], "mean_score": [0.4, 0.6]})
    titles = {plot.name: plot.title for plot in plots(summary, board)}
    assert titles["k_curve"] == "Mean score against K"
    [drawn] = [plot for plot in plots(summary, board) if plot.name == "score_by_sigma"]
    assert "mean score" in drawn.alt
    plain = page_of(collect(RunFolder(tmp_path), a_summary(), None))
    assert "mean score" not in plain
    assert "An accuracy has its 95 % Wilson interval." in plain
