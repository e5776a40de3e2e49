"""vLLM behind `thickets serve`: in float32 it writes what the run's own engine wrote, and so the vote is the run's."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient

from tests.flows.models.helpers import make_run
from tests.flows.serve.conftest import stored_of
from tests.flows.waves_run import OFF
from tests.tiny_model import make_tiny_model
from thickets.flows.models.open import find_model
from thickets.flows.serve.app import make_app
from thickets.flows.serve.desk import Desk
from thickets.flows.serve.opening import catalogue_of, parts_for
from thickets.flows.serve.settings import ServeSettings
from thickets.storage.home import Home
from thickets.tasks.engines import resolve_spec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="only its build for CPUs shares its bits with Transformers"),
]


def test_vllm_answers_as_the_run_did(tmp_path: Path, prefect_server: None) -> None:
    make_tiny_model(tmp_path / "model", head_dim=32)  # the least that its attention takes on a CPU
    run = make_run(tmp_path, controls=OFF)
    home = Home(tmp_path / "home")
    stored = stored_of(home, run)
    found = find_model(home, "latest")
    parts = parts_for(found, "cpu")
    parts = replace(parts, spec=resolve_spec(replace(parts.spec, kind="vllm")))
    assert parts.spec.kind == "vllm"
    desk = Desk(catalogue_of(home, found, "latest"), parts)
    client = TestClient(make_app([desk], ServeSettings()), base_url="http://localhost")

    def ask(model: str, prompt: str | list[str], **more):
        answer = client.post("/v1/completions", json={"model": model, "prompt": prompt, **more})
        return answer.json() if answer.status_code == 200 else answer.status_code

    def texts(reply) -> list[str]:
        return [choice["text"] for choice in reply["choices"]]

    try:
        desk.dispatcher.wait_until_ready()
        assert texts(ask("latest:base", stored.prompts)) == stored.base
        assert texts(ask("latest:rank=1", stored.prompts)) == stored.first
        asked = [(name, prompt) for prompt in stored.prompts for name in ("latest", "latest:base")]
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda each: ask(*each), asked))
        assert [reply["thickets"]["answer"] for reply in replies[::2]] == stored.votes
        assert [text for reply in replies[1::2] for text in texts(reply)] == stored.base
        assert len(set(stored.votes)) > 2  # else the comparison says little
        whole = texts(ask("latest:base", stored.prompts[0]))[0]
        assert texts(ask("latest:base", stored.prompts[0], stop=whole[2])) == [whole[: whole.index(whole[2])]]
        hot = ask("latest:base", stored.prompts[0], temperature=1.5, seed=5)
        assert texts(hot) == texts(ask("latest:base", stored.prompts[0], temperature=1.5, seed=5))
        assert ask("latest", "3 or 4? " * 100) == 400
        counts = desk.dispatcher.counts
    finally:
        desk.dispatcher.close()
    assert (counts.failed, counts.starts) == (0, 1)
    assert counts.batches < len(asked)
