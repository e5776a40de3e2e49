"""The findings of a run in sentences: of a real tiny run, of one of an earlier version, and of special cases."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from thickets.flows.cli.tables_results import show_everything
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import example_votes, open_scores
from thickets.flows.results.sentences import findings, verdicts
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home, RunFolder

MakeConfig = Callable[..., RunConfig]

pytestmark = pytest.mark.usefixtures("prefect_server")


def shown(summary: RunSummary) -> str:
    out = StringIO()
    folder = RunFolder(summary.folder)
    with open_scores(Home(summary.folder.parents[1]), folder) as reader:
        show_everything(summary, Console(file=out, width=160), example_votes(reader, summary))
    return out.getvalue()


def test_a_run_describes_its_thicket_and_says_it_in_sentences(config: MakeConfig, finished: RunSummary) -> None:
    summary = finished
    found, thicket = summary.evaluation, summary.thicket
    assert [row.sigma for row in thicket.sigmas] == [0.05, 0.1, 0.2]
    assert [row.density[0].share.count for row in thicket.sigmas] == [row.n_at_least_base for row in summary.sigmas]
    assert sum(sum(row.histogram.values()) for row in thicket.sigmas) == thicket.best.n_candidates == 9
    assert thicket.best.observed.n_correct == summary.experts[0].n_correct
    assert (thicket.correlation.n_candidates, thicket.correlation.n_population) == (5, 9)
    assert thicket.oracle.n_correct >= found.ensemble.n_correct
    assert len(thicket.agreement.n_same) == found.k
    gains = thicket.gains
    assert gains.retained + gains.regressed == found.base.n_correct
    fixed = gains.format_fixed + gains.reasoning_fixed + gains.unclear_fixed
    assert gains.retained + fixed == found.ensemble.n_correct
    assert fixed == found.ensemble_minus_base.n_better
    assert gains.regressed == found.ensemble_minus_base.n_worse
    assert sum(gains.model_dump().values()) == found.base.n
    answers = summary.answers
    assert answers is not None
    assert (answers.max_tokens, answers.base.n, answers.candidates.n) == (8, 12, 9 * 12)
    assert 0 < answers.candidates.n_cut_off <= 9 * 12
    text = shown(summary)
    for line in findings(summary):
        assert line.split(":")[0] in " ".join(text.split())
    assert [each.sentence.split(" is ")[0] for each in verdicts(summary)] == [
        *["The ensemble"] * 8, "The best single expert",
    ]  # fmt: skip

    # Started again, a run computes it from the database, without scoring anything.
    assert randopt(config()).thicket == thicket


@pytest.mark.usefixtures("finished")
def test_special_cases_are_said_plainly(config: MakeConfig) -> None:
    summary = randopt(config(selection={"k_values": [1]}))
    assert summary.thicket.agreement.mean is None
    text = " ".join(findings(summary))
    assert "1 candidates have no rank correlation" in text
    assert "Two experts" not in text
    assert "At least one of 1 is right" in text
