"""The stages of a run and the time left until its report, from its configuration alone."""

from __future__ import annotations

from typing import Any

import pytest

from thickets.flows.plan import RunPlan, answers_after_selection, make_plan
from thickets.flows.search import progress as progress_module
from thickets.flows.search.forecast import WRAP_UP_S, Forecast, forecast
from thickets.flows.search.progress import ScoringProgress
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.results.text import duration
from thickets.tasks.scoring.units import UnitReport


@pytest.fixture
def plan_of(config):
    def make(**sections: Any) -> RunPlan:
        run = config(**sections)
        problem, data = load_problem(run.single_problem), run.data
        splits = draw_splits(
            problem, selection=data.selection, validation=data.validation, test=data.test, seed=data.seed
        )
        return make_plan(run, find_base_model(run.model), problem, splits)

    return make


def test_every_stage_that_generates_is_counted(plan_of) -> None:
    found = forecast(plan_of())
    assert found is not None
    # 9 candidates and the base on 12 questions; 5 experts and the base on 10; 4 other prompts on those 10; then 14.
    assert found.answers == {
        "selection": 120.0,
        "validation": 60.0,
        "test": 84.0,
        "prompts": 40.0,
        "controls": (5 + 5 + 1 + 1 + 5) * 14.0,
    }
    places = {"selection": 1, "pilot": 1, "selection round 2 of 3": 1, "controls": 5, "token limit": None}
    assert {label: found.place(label) for label in places} == places
    assert found.n_stages == 6
    assert found.after("controls") == 0
    assert found.after("validation") == found.after("validation of anything") == 84 + 40 + 238


def test_controls_that_are_off_are_no_stages_and_a_distillation_is_two(plan_of) -> None:
    off = dict.fromkeys(("self_consistency", "random_experts", "weight_average", "best_prompt"), False)
    distillation = {"examples": 20, "attempts": 3, "max_steps": 4, "batch_size": 2}
    found = forecast(plan_of(controls=off, distillation=distillation))
    assert found is not None
    assert list(found.answers) == ["selection", "validation", "test", "distillation", "training"]
    assert found.answers["distillation"] == (5 + 3) * 20


def test_merges_are_stages_and_a_coordinate_search_is_one_on_the_selection_split(plan_of) -> None:
    section = {"directions": ["best", "z_score"], "k": [3], "radii": [1.0], "doublings": 1, "coordinate_steps": 2}
    plain, found = forecast(plan_of()), forecast(plan_of(merge=section))
    assert plain is not None
    assert found is not None
    stages = ["selection", "validation", "merges", "coordinates", "test", "prompts", "controls"]
    assert list(found.answers) == stages
    assert found.answers["validation"] == plain.answers["validation"]
    assert found.answers["merges"] == (3 + 2) * 10
    assert found.answers["coordinates"] == 5 * 12 + 10
    assert found.answers["controls"] == plain.answers["controls"] + 14
    assert (found.place("merges twice as far 1"), found.place("coordinates")) == (3, 4)
    assert "merges" not in plain.answers
    later = answers_after_selection(plan_of(merge=section)) - answers_after_selection(plan_of())
    assert later == found.answers["merges"] + found.answers["coordinates"] + 14


def test_racing_is_expected_to_save_and_a_budget_forecasts_nothing(plan_of) -> None:
    raced = forecast(plan_of(scoring={"examples_per_block": 6, "racing": {"keep": 0.5}}))
    assert raced is not None
    assert raced.answers["selection"] == (9 + 1) * 6 + (5 + 1) * 6  # never fewer than the best 5
    assert forecast(plan_of(scoring={"budget": {"tokens": 10_000}})) is None


def test_what_an_earlier_session_has_answered_is_taken_off() -> None:
    whole = Forecast({"selection": 100.0, "test": 50.0, "controls": 80.0})
    assert whole.without({"selection": 30, "test": 60}).answers == {"selection": 70, "test": 0, "controls": 70}


def test_the_first_score_is_told_at_once_with_its_stage_and_the_time_to_the_report(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    progress = ScoringProgress()
    progress.forecast = Forecast({"selection": 40.0, "test": 300.0})
    with progress.split("selection", n_units=4, n_done=0, n_engines=1):
        now[0] += 15.0
        # 10 answers in 10 s, after an engine that took 5 s to start.
        progress.on_unit(UnitReport("base", "selection", 4, 10, 50, 0.1, 9.0, start_s=5.0))
        [line] = [text for text in caplog.messages if "stage" in text]
        assert "stage 1 of 3, selection: 1/4, base 4/10, 3 tokens/s" in line
        left_s = 3 * 10.0 + 300 * 1.0 + WRAP_UP_S
        assert line.endswith(f"about {duration(left_s)} to the report")


def test_without_a_forecast_the_time_left_is_that_of_the_round(caplog: pytest.LogCaptureFixture) -> None:
    progress = ScoringProgress()
    with progress.split("anything", n_units=2, n_done=0, n_engines=1):
        progress.on_unit(UnitReport("c", "test", 1, 2, 8, 0.1, 0.1))
        progress.on_unit(UnitReport("d", "test", 2, 2, 8, 0.1, 0.1))
    told = [text.split(", ")[:2] for text in caplog.messages if text.startswith("  ")]
    assert told == [["  anything: 1/2", "best 1/2"], ["  anything: 2/2", "best 2/2"]]
    assert caplog.messages[-1].endswith("left")


def test_engines_that_start_side_by_side_start_once(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    progress = ScoringProgress()
    with progress.split("selection", n_units=4, n_done=0, n_engines=2):
        now[0] += 12.0
        progress.on_unit(UnitReport("c", "selection", 1, 2, 8, 0.1, 0.1, start_s=10.0))
        now[0] += 0.5
        progress.on_unit(UnitReport("d", "selection", 1, 2, 8, 0.1, 0.1, start_s=10.0))
    [last] = [text for text in caplog.messages if "2/4" in text]
    assert last.endswith(f"about {duration(2.5)} left")
