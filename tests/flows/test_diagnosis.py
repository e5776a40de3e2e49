"""Why a run says nothing: one likely cause, and the field of the configuration to change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.summaries import N_SELECTION, a_summary, right
from thickets.flows.results.diagnosis import diagnose
from thickets.flows.results.summary import RunSummary

SAME: dict[str, Any] = {"ensemble": right(80), "best_single": right(80)}
NONE: dict[str, Any] = {"base": right(0), "ensemble": right(0), "best_single": right(0)}
WORSE: dict[str, Any] = {"ensemble": right(2), "best_single": right(2)}


def found(**made: Any) -> tuple[str, str]:
    diagnosis = diagnose(a_summary(**made))
    assert diagnosis is not None
    assert "\n" not in diagnosis.sentence
    return diagnosis.cause, diagnosis.sentence


@pytest.mark.parametrize(
    ("made", "cause", "words"),
    [
        (
            {"base_selection": 0, "scores": {0.003: (0, 0), 0.008: (0,)}, **NONE},
            "all wrong",
            ["All 3 candidates have 0 % of the selection split, the base 0.0 %", "problem.options", "problem.verifier"],
        ),
        (
            {"base_selection": 1, "scores": {0.003: (0, 0), 0.008: (0,)}, **NONE},
            "all wrong",
            ["the base 1.6 %", "thickets show made-up --all"],
        ),
        (
            {"base_selection": N_SELECTION, "scores": {0.003: (64, 64), 0.008: (64,)}, **SAME},
            "all right",
            ["All 3 candidates have 100 %", "problem.options"],
        ),
        (
            {"cut_off": (1.0, 1.0), "abstained": (1.0, 1.0), **SAME},
            "cut off",
            ["100 % of the candidates' answers were cut off at 24 tokens (of the base's 100 %)", "decoding.max_tokens"],
        ),
        (
            {"abstained": (0.9, 0.97), **SAME},
            "no answers",
            ["In 97 % of the candidates' replies no answer was found (of the base's in 91 %)", "problem.instruction"],
        ),
        (
            {"scores": {0.3: (2, 4), 0.6: (0, 1)}, **WORSE},
            "sigma too large",
            [
                "it has 31.2 % of the selection split, the best of 4 candidates 6.2 %",
                "population.sigmas (now 0.3, 0.6)",
            ],
        ),
        (
            {"base_selection": 6, "scores": {0.3: (0, 0)}, **WORSE},
            "sigma too large",
            ["it has 9.4 %", "the best of 2 candidates 0.0 %"],
        ),
        (
            {"abstained": (0.05, 1.0), "scores": {0.3: (6, 9)}, **WORSE},
            "sigma too large",
            ["100 % of the candidates' answers hold no answer, of the base's 5 %", "population.sigmas"],
        ),
        (
            {"cut_off": (0.0, 0.99), "scores": {0.3: (6, 9)}, **WORSE},
            "sigma too large",
            ["99 % of the candidates' answers are cut off, of the base's 0 %", "population.sigmas"],
        ),
        (
            {"scores": {1e-7: (20, 20)}, **SAME},
            "sigma too small",
            ["Every candidate has the base's score, 31.2 %", "population.sigmas (now 1e-07)"],
        ),
        (
            {"k": 1, **SAME},
            "one expert",
            ["no larger K was better on 64 validation questions", "data.validation", "selection.k_values"],
        ),
        ({"k": 1, "k_values": (1,)}, "one expert", ["selection.k_values holds no larger one; name larger ones there"]),
    ],
)
def test_a_run_that_says_nothing_says_why(made: dict[str, Any], cause: str, words: list[str]) -> None:
    said = found(**made)
    assert said[0] == cause
    for each in words:
        assert each in said[1]


@pytest.mark.parametrize(
    "made",
    [
        {},
        SAME,  # nothing can be told, and nothing explains it
        {"base_selection": 0, "scores": {0.003: (0, 3)}, **NONE},
        {"base_selection": 60, "scores": {0.003: (63, 64)}, **SAME},
        {"cut_off": (1.0, 0.9), **SAME},
        {"abstained": (1.0, 0.9), **SAME},
        {"scores": {0.3: (2, 4), 0.003: (18, 12)}, **SAME},  # one sigma of two is too large
        {"scores": {1e-7: (20, 21)}, **SAME},
        {"scores": {1e-7: (20, 20)}, "ensemble": right(81)},
        {"cut_off": (1.0, 1.0)},  # cut off, and yet a gain
        {"cut_off": (0.0, 0.94), "scores": {0.3: (6, 9)}, **SAME},
        {"cut_off": (1.0, 1.0), "base_selection": 40, "scores": {0.003: (38, 42)}, **SAME},  # cut off, and yet right
    ],
)
def test_a_run_that_says_something_is_left_alone(made: dict[str, Any]) -> None:
    assert diagnose(a_summary(**made)) is None


def test_one_expert_is_said_even_of_a_gain_but_explains_no_verdict() -> None:
    diagnosis = diagnose(a_summary(k=1))
    assert diagnosis is not None
    assert (diagnosis.cause, diagnosis.explains_verdicts) == ("one expert", False)


def test_without_counts_of_answers_the_scores_still_tell() -> None:
    """Summaries of versions that did not count them."""

    def old(**made: Any) -> RunSummary:
        return a_summary(**made).model_copy(update={"answers": None})

    assert diagnose(old(cut_off=(1.0, 1.0), **SAME)) is None
    diagnosis = diagnose(old(base_selection=0, scores={0.1: (0, 0)}, **NONE))
    assert diagnosis is not None
    assert diagnosis.cause == "all wrong"
