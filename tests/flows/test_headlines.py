"""The end of a run: a table and at most five lines."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from tests.flows.summaries import a_summary, right
from thickets.flows.cli.tables_results import density_table, show_summary, sigma_table
from thickets.flows.results.diagnosis import diagnose
from thickets.flows.results.sentences import findings, headlines, remarks, verdicts
from thickets.flows.results.summary import RunSummary
from thickets.tasks.results.thinking import Thinking, ThinkingCounts

REPORT = "Report: /home/runs/made-up/report.html (or here: thickets show made-up --all)"


def printed(summary: RunSummary) -> str:
    out = StringIO()
    show_summary(summary, Console(file=out, width=160))
    return out.getvalue()


def test_a_run_ends_with_its_table_and_five_lines() -> None:
    summary = a_summary()
    lines = headlines(summary)
    assert [line.split(":")[0] for line in lines] == [
        "The ensemble is better than the base",
        "The ensemble is better than chance (one of the options at random)",
        "The ensemble is better than self-consistency",
        "The ensemble is not distinguishable from the best single expert",
        "Report",
    ]
    assert lines[0] == "The ensemble is better than the base: +19.5 [+14.8, +24.6] points."
    assert lines[3].endswith("; about 1,100 test examples (data.test) would tell.")
    assert lines[4] == REPORT
    out = printed(summary).splitlines()
    assert out[-5:] == lines
    assert headlines(summary, " --home /h")[-1].endswith("thickets show made-up --all --home /h)")
    assert out[0].rstrip() == "made-up: largest_number on tiny"
    assert out[-6].rstrip() == "6 candidates, 84,000 tokens, 5 min 32 s in the last session"


def test_a_comparison_that_was_not_made_has_no_line() -> None:
    summary = a_summary(chance=None)
    off = summary.model_copy(update={"evaluation": summary.evaluation.model_copy(update={"controls": ()})})
    for each, n in ((summary, 4), (off, 3)):
        lines = headlines(each)
        assert len(lines) == n
        assert not any("chance" in line for line in lines)
    assert not any("self-consistency" in line for line in headlines(off))


def test_the_strongest_trivial_answer_is_a_rival_like_any_other() -> None:
    """A trial on reviews: every expert says "positive" to everything, which beats the base and is worth nothing."""
    constant = right(150)
    summary = a_summary(ensemble=constant, best_single=constant, chance=constant)
    base, chance, *_ = headlines(summary)
    assert base.startswith("The ensemble is better than the base: +27.3")
    assert chance == (
        "The ensemble is not distinguishable from chance (always the most frequent answer): +0.0 [+0.0, +0.0] points."
    )
    assert [each.kind for each in verdicts(summary)[:2]] == ["better", "not distinguishable"]
    assert "(0 gained, 0 lost)" in verdicts(summary)[1].sentence


def test_against_a_guess_at_random_no_question_is_gained_or_lost() -> None:
    sentence = verdicts(a_summary(ensemble=right(88)))[1].sentence
    assert sentence.startswith("The ensemble is not distinguishable from chance (one of the options at random): +1.0 [")
    assert "gained" not in sentence
    assert "on 256 test examples; to tell a difference of this size, about " in sentence


def test_every_verdict_is_among_the_findings_word_for_word() -> None:
    summary = a_summary()
    everything = findings(summary)
    assert everything[: len(verdicts(summary))] == [each.sentence for each in verdicts(summary)]
    assert len(everything) > 2 * len(headlines(summary)) - 2


def test_one_expert_is_not_compared_with_itself() -> None:
    summary = a_summary(k=1, best_single=right(130))
    lines = headlines(summary)
    assert len(lines) == 5
    assert lines[0].startswith("K = 1: ")
    assert lines[1].startswith("The ensemble is better than the base")
    assert not any("best single" in line for line in lines)
    assert len(headlines(a_summary(k=1, best_single=right(130), chance=None))) == 4
    # By another ranking the first need not be the best of the selection split; there is no room for it here.
    shrunken = summary.evaluation.model_copy(update={"method": "shrunken"})
    assert len(headlines(summary.model_copy(update={"evaluation": shrunken}))) == 5


def test_a_diagnosis_comes_first_and_stands_for_verdicts_that_nothing_can_be_told_apart() -> None:
    nothing = right(0)
    flat = {"base": nothing, "ensemble": nothing, "best_single": nothing, "self_consistency": nothing}
    summary = a_summary(base_selection=0, scores={0.1: (0, 0, 0)}, **flat)
    found = diagnose(summary)
    assert found is not None
    lines = headlines(summary)
    assert lines[0] == findings(summary)[0] == found.sentence
    assert [line.split(":")[0] for line in lines[1:]] == [
        "The ensemble is worse than chance (one of the options at random)", "Report",
    ]  # fmt: skip
    assert sum("not distinguishable" in line for line in findings(summary)) == 4


def test_a_base_at_nothing_is_no_success_of_the_candidates() -> None:
    def tables(base: int) -> str:
        out = StringIO()
        summary = a_summary(base_selection=base, scores={0.1: (1, 2, 3)})
        Console(file=out, width=160).print(sigma_table(summary), density_table(summary.thicket))
        return out.getvalue()

    assert "3 (100 %)" in tables(1)
    assert "100 %" not in tables(0)
    assert tables(1).count("33.3 % [") == 4
    assert tables(0).count("33.3 % [") == 3


def test_a_summary_of_before_is_read_without_what_it_lacks() -> None:
    before = a_summary().model_dump(mode="json", exclude={"answers"})
    summary = RunSummary.model_validate(before)
    assert summary.answers is None
    assert headlines(summary) == headlines(a_summary())


@pytest.mark.parametrize("width", [60, 200])
def test_a_line_is_never_broken(width: int) -> None:
    out = StringIO()
    show_summary(a_summary(), Console(file=out, width=width))
    assert REPORT in out.getvalue().splitlines()


def test_rows_left_out_and_tokens_spent_thinking_are_said() -> None:
    counts = ThinkingCounts(n=256, n_thought=256, n_unfinished=3, n_tokens=3000, n_thinking_tokens=1500)
    thinking = Thinking(tags=("<think>", "</think>"), is_open=False, base=counts, experts=counts)
    plain = a_summary()
    found = plain.model_copy(update={"dropped": {"selection": 2, "test": 1}, "thinking": thinking})
    told = [line for line in remarks(found) if line not in remarks(plain)]
    assert told == [
        "2 selection, 1 test rows were too long for the model and left out (data.too_long: drop).",
        thinking.sentence,
    ]
    [one] = [line for line in remarks(plain.model_copy(update={"dropped": {"test": 1}})) if "left out" in line]
    assert one == "1 test row was too long for the model and left out (data.too_long: drop)."
