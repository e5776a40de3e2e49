"""The findings of a run in sentences: of a real tiny run, of one of an earlier version, and of special cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from thickets.flows.cli.tables_results import show_summary
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run, load_summary
from thickets.flows.results.sentences import findings, verdicts
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home
from thickets.tasks.results.evaluation import Difference

MakeConfig = Callable[..., RunConfig]

pytestmark = pytest.mark.usefixtures("prefect_server")

_OF_A_DIFFERENCE = set(Difference.model_fields) - {"value", "low", "high"}


def shown(summary: RunSummary) -> str:
    out = StringIO()
    show_summary(summary, Console(file=out, width=160))
    return out.getvalue()


def without_thicket(summary: RunSummary) -> str:
    """The summary as a version before these fields wrote it."""
    old = json.loads(summary.model_dump_json())
    del old["thicket"]
    for value in old["evaluation"].values():
        if isinstance(value, dict) and set(value) >= _OF_A_DIFFERENCE:
            for name in _OF_A_DIFFERENCE:
                del value[name]
    return json.dumps(old)


def test_a_run_describes_its_thicket_and_says_it_in_sentences(config: MakeConfig) -> None:
    summary = randopt(config())
    found, thicket = summary.evaluation, summary.thicket
    assert thicket is not None
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
    text = shown(summary)
    for line in findings(summary):
        assert line.split(":")[0] in " ".join(text.split())
    assert [each.sentence.split(" is ")[0] for each in verdicts(summary)] == [
        *["The ensemble"] * 7, "The best single expert",
    ]  # fmt: skip

    # A run of a version that did not describe its thicket is still shown.
    folder = find_run(Home(config().storage.home), "latest")
    folder.summary.write_text(without_thicket(summary))
    old = load_summary(folder)
    assert old.thicket is None
    assert old.evaluation.ensemble_minus_base.n is None
    assert findings(old)[0].startswith("The ensemble is ")
    assert len(findings(old)) == 8  # three verdicts, and one on each rival
    assert "Candidates at least so many points" not in shown(old)

    # And a run of this version again computes it from the database, without scoring anything.
    assert randopt(config()).thicket == thicket


def test_special_cases_are_said_plainly(config: MakeConfig) -> None:
    summary = randopt(config(selection={"k_values": [1]}))
    assert summary.thicket is not None
    assert summary.thicket.agreement.mean is None
    text = " ".join(findings(summary))
    assert "1 candidates have no rank correlation" in text
    assert "Two experts" not in text
    assert "At least one of 1 is right" in text
