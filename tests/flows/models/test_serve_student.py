"""`thickets serve --student`: the student beside its run, on an engine of its own."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.flows.models.helpers import stored
from thickets.flows.results.summary import RunSummary
from thickets.flows.serve.app import make_app
from thickets.flows.serve.opening import open_desks
from thickets.flows.serve.settings import ServeSettings
from thickets.storage.home import Home


@pytest.mark.usefixtures("student")
def test_the_student_answers_beside_its_run(home: Home, run: RunSummary) -> None:
    questions = stored(home, run)[1]["question"].to_list()[:4]
    desks = open_desks(home, run.run_id, student=True)
    try:
        for desk in desks:
            desk.dispatcher.wait_until_ready()
        client = TestClient(make_app(desks, ServeSettings(wraps=True)), base_url="http://localhost")
        assert f"{run.run_id}:student" in [row["id"] for row in client.get("/v1/models").json()["data"]]

        def text(model: str, question: str) -> str:
            body = {"model": model, "messages": [{"role": "user", "content": question}]}
            return client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]

        # The fixture's student is the best expert as a checkpoint.
        for question in questions:
            assert text(f"{run.run_id}:student", question) == text(f"{run.run_id}:rank=1", question)
        assert client.get("/health").json()["starts"] == 2
    finally:
        for desk in desks:
            desk.dispatcher.close()


def test_a_run_without_a_student_says_how_to_get_one(home: Home, rival: RunSummary, thickets) -> None:
    status, _, err = thickets("serve", rival.run_id, "--student", "--port", "0")
    assert status == 2
    assert f"error: --student: {rival.run_id} has none; distil it first: thickets distill {rival.run_id}" in err
