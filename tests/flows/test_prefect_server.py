"""A Prefect server that is away, slow or refuses: what only shows a run neither ends it nor holds it up."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.patience import FOR_EVER_S, PATIENCE_S, no_hang
from thickets.flows.placement import accelerator
from thickets.flows.runtime.prefect_server import LatestOnly, shown, wait_for_server
from thickets.flows.search import progress as progress_module
from thickets.flows.search.progress import ScoringProgress
from thickets.tasks.scoring.units import UnitReport

AWAY = httpx.ConnectError("[Errno 111] Connection refused")
UNIT = UnitReport("c1", "selection", n_correct=1, n=2, n_tokens=8, load_s=0.1, generate_s=0.2, start_s=0.0)


def refuse(*arguments: Any, **named: Any) -> None:
    raise AWAY


def score_two_units() -> ScoringProgress:
    progress = ScoringProgress()
    with progress.split("selection", n_units=2, n_done=0, n_engines=1):
        progress.on_unit(UNIT)
        progress.on_unit(UNIT)
    return progress


@pytest.fixture
def in_a_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module.FlowRunContext, "get", staticmethod(object))
    monkeypatch.setattr(progress_module, "_ARTIFACT_EVERY_S", 0.0)


@pytest.mark.parametrize("refused", ["create_progress_artifact", "update_progress_artifact"])
def test_scoring_goes_on_when_progress_cannot_be_shown(
    refused: str, in_a_flow: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress_module, "create_progress_artifact", lambda *a, **k: "an id")
    monkeypatch.setattr(progress_module, refused, refuse)
    assert score_two_units().engine.n_answers == 4
    [told] = [line for line in caplog.messages if "the run goes on" in line]
    assert "the progress of the selection split" in told
    assert "Connection refused" in told


def test_a_server_that_does_not_answer_holds_nobody_up(in_a_flow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(progress_module, "create_progress_artifact", lambda *a, **k: "an id")
    monkeypatch.setattr(progress_module, "update_progress_artifact", lambda *a, **k: hangs.wait(FOR_EVER_S))
    monkeypatch.setattr(LatestOnly.close, "__defaults__", (0.2,))
    try:
        with no_hang():
            score_two_units()
    finally:
        hangs.set()


def test_only_the_newest_value_is_sent_and_a_failure_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[int] = []
    first_is_here, may_go_on = threading.Event(), threading.Event()

    def send(value: int) -> None:
        first_is_here.set()
        assert may_go_on.wait(PATIENCE_S)
        sent.append(value)
        if value < 9:
            raise AWAY

    poster: LatestOnly[int] = LatestOnly(send, "numbers")
    poster.offer(0)
    assert first_is_here.wait(PATIENCE_S)
    for value in (1, 2, 3):
        poster.offer(value)
    may_go_on.set()
    poster.close()
    assert sent == [0, 3]
    assert len([line for line in caplog.messages if "does not take numbers" in line]) == 1


def test_what_is_shown_may_fail_but_what_is_done_may_not(caplog: pytest.LogCaptureFixture) -> None:
    with shown("a table"):
        refuse()
    assert "has not taken a table; the run goes on" in caplog.text
    with pytest.raises(KeyboardInterrupt), shown("a table"):
        raise KeyboardInterrupt


def test_slots_that_cannot_be_given_back_end_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slots:
        def __init__(self, *arguments: Any, **named: Any) -> None: ...

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None:
            raise AWAY

    monkeypatch.setattr(accelerator, "concurrency", Slots)
    monkeypatch.setattr(accelerator, "_exists", lambda name: True)
    done = []
    with accelerator.hold(["accelerator:here:cpu"]):
        done.append("scored")
    assert done == ["scored"]
    with pytest.raises(ValueError, match="a fault of the run"), accelerator.hold(["accelerator:here:cpu"]):
        raise ValueError("a fault of the run")


def test_waiting_for_the_server_ends(caplog: pytest.LogCaptureFixture) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert not wait_for_server(patience_s=0.1)
    assert "did not come back" in caplog.text
    with temporary_settings({PREFECT_API_URL: None}):
        assert wait_for_server(patience_s=0.1)  # nobody would start a temporary one again
