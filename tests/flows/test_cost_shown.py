"""Every row of a result has beside it what it took to get and what it takes to use, wherever it is shown."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console

from tests.flows.summaries import a_summary
from thickets.flows.cli.tables_results import show_summary
from thickets.flows.publish.tracking import _metrics, result_markdown
from thickets.flows.report.collect import collect
from thickets.flows.report.render import page as page_of
from thickets.flows.results.compare import _compared
from thickets.flows.results.comparison import Comparison, DiscordanceTable
from thickets.flows.results.comparison_text import comparison_markdown
from thickets.flows.results.cost import cost_sentence, in_words, search_cost
from thickets.flows.results.rounds import Round, Rounds
from thickets.flows.results.rounds_text import rounds_rows
from thickets.flows.results.rows import result_rows
from thickets.flows.results.sentences import remarks
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import RunFolder
from thickets.tasks.results.cost import Cost, RowCost, RunCost
from thickets.tasks.results.text import amount
from thickets.tasks.statistics import accuracy

SEARCH = Cost(n_generated=400_000, n_read=800_000, n_forward=20_000, flops=3.2e14, engine_s=725.0)


def counted() -> RunSummary:
    """A run of 256 test questions: 40 tokens each, and an ensemble of three."""

    def row(name: str, get: Cost, times: int) -> RowCost:
        use = Cost(n_generated=times * 2560, n_read=times * 7680, n_forward=times * 256, flops=times * 2.56e12)
        return RowCost(name=name, get=get, use=use, n=256)

    rows = (
        row("chance", Cost(), 0),
        row("base", Cost(), 1),
        row("self_consistency", Cost(), 3),
        row("best_single", SEARCH, 1),
        row("ensemble", SEARCH, 3),
    )
    cost = RunCost(n_parameters=100, n_active=100, search=SEARCH, rows=rows)
    plain = a_summary()
    engine = plain.engine.model_copy(update={"seconds": cost.seconds})
    return plain.model_copy(update={"cost": cost.timed({}), "engine": engine})


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0"),
        (950, "950"),
        (999.6, "1.00 k"),
        (1234, "1.23 k"),
        (12_345, "12.3 k"),
        (999_600, "1.00 M"),
        (1_200_000, "1.20 M"),
        (3.2e14, "320 T"),
        (5e18, "5.00 E"),
    ],
)
def test_large_counts_have_three_digits_and_a_unit(count: float, words: str) -> None:
    assert amount(count) == words


def test_rows_have_tokens_to_get_and_multiples_of_the_base_to_use() -> None:
    summary = counted()
    rows = {row.name: (row.to_get, row.to_use) for row in result_rows(summary.evaluation, summary.full_cost)}
    assert rows == {
        "chance": ("0", "0.0×"),
        "base": ("0", "1.0×"),
        "self_consistency": ("0", "3.0×"),
        "best_single": ("1.20 M", "1.0×"),
        "ensemble": ("1.20 M", "3.0×"),
    }


def test_the_cost_of_the_ensemble_is_a_sentence() -> None:
    sentence = cost_sentence(counted())
    assert sentence == (
        "The ensemble took 1.20 M tokens (400 k generated, 800 k read), 320 TFLOP, 12 min 05 s of engines to get; a "
        "question takes it 120 tokens and 30.0 GFLOP, 3.0 times the base's."
    )
    assert remarks(counted())[-1] == sentence
    assert in_words(Cost(n_trained=2000, flops=6e9)) == "2.00 k tokens (2.00 k trained on), 6.00 GFLOP"
    assert search_cost(counted()) == SEARCH


def test_the_terminal_and_markdown_show_both() -> None:
    out = StringIO()
    show_summary(counted(), Console(file=out, width=160))
    [ensemble] = [line.split() for line in out.getvalue().splitlines() if line.strip("│ ").startswith("ensemble,")]
    assert ensemble[-5:-1] == ["1.20", "M", "│", "3.0×"]
    assert "tokens to get" in out.getvalue()
    [row] = [line for line in result_markdown(counted()).splitlines() if line.startswith("| ensemble,")]
    assert row.endswith("| 1.20 M | 3.0× |")


def test_the_model_of_a_round_took_the_rounds_before_it_as_well() -> None:
    def a_round(number: int, get: Cost | None) -> Round:
        half = accuracy(1, 2)
        return Round(
            number=number,
            run_id="r",
            model="m",
            base=half,
            ensemble=half,
            merge=half,
            validation=None,
            n_tokens=9,
            wall_s=1.0,
            get=get,
        )

    first, second = Cost(n_read=1000, engine_s=1.0), Cost(n_generated=500, engine_s=2.0)
    found = Rounds(
        group_id="g",
        rounds=(a_round(1, first), a_round(2, second), a_round(3, None)),
        last_minus_first=None,
        ended="it did",
    )
    assert found.cost_to_get(1) == first
    assert found.cost_to_get(2) == first + second
    assert found.cost_to_get(3) is None
    assert [row[-1] for row in rounds_rows(found)] == ["1.00 k", "1.50 k", ""]


def test_a_comparison_has_them_behind_every_accuracy() -> None:
    both = Comparison(
        runs=(_compared(counted()), _compared(a_summary())), pairs=(), discordance=DiscordanceTable(), config=()
    )
    lines = comparison_markdown(both).splitlines()
    [base] = [line for line in lines if line.startswith("| base")]
    accuracy = "31.2 % [25.9, 37.2]"
    assert base == f"| base | {accuracy} (0, 1.0×) | {accuracy} |"
    assert any("tokens to get" in line for line in lines)


def test_mlflow_has_both_as_metrics() -> None:
    metrics = {point.name: point.value for point in _metrics(counted())}
    assert metrics["cost.search.tokens"] == metrics["cost.ensemble.get_tokens"] == 1_200_000
    assert metrics["cost.ensemble.get_flops"] == 3.2e14
    assert metrics["cost.ensemble.get_s"] == 725.0
    assert metrics["cost.ensemble.use_tokens"] == 3 * metrics["cost.base.use_tokens"] == 120
    assert metrics["cost.base.use_flops"] == 1e10
    assert metrics["cost.self_consistency.get_tokens"] == 0
    assert not any(name.startswith("engine.seconds") for name in metrics)


def test_the_report_shows_both() -> None:
    summary = counted()
    page = page_of(collect(RunFolder(summary.folder), summary, None))
    assert '<td role="cell" class="number" data-label="to get">1.20 M</td>' in page
    assert '<td role="cell" class="number" data-label="to use">3.0×</td>' in page


def test_a_stored_summary_without_costs_is_shown_without_them() -> None:
    stored = json.loads(a_summary().model_dump_json(exclude={"cost"}))
    del stored["engine"]["seconds"]
    old = RunSummary.model_validate(stored)
    out = StringIO()
    show_summary(old, Console(file=out, width=160))
    page = page_of(collect(RunFolder(old.folder), old, None))
    for text in (out.getvalue(), result_markdown(old), page):
        assert "to get" not in text
        assert "9,000" in text
    assert not any(point.name.startswith("cost.") for point in _metrics(old))
    assert cost_sentence(old) is None
