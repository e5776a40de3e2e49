"""Full queues, impatient clients, a killed engine: every request is answered or refused with an error to try again."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import httpx
import psutil
import pytest
from fastapi.testclient import TestClient

from tests.flows.serve.conftest import Server, Stored, serving
from tests.patience import PATIENCE_S, wait_for
from thickets.flows.models.open import find_model
from thickets.flows.results.summary import RunSummary
from thickets.flows.serve.app import make_app
from thickets.flows.serve.desk import Desk
from thickets.flows.serve.opening import catalogue_of, open_desks, parts_for
from thickets.flows.serve.settings import ServeSettings
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.storage.models.manifest import MergeManifest
from thickets.tasks.engines import build_engine
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.tokenizer import load_tokenizer
from thickets.tasks.problems.judging import Judge
from thickets.tasks.serving.opening import open_ensemble
from thickets.tasks.types import Example

# Seconds of the tiny model's time.
LONG = {"model": "latest", "prompt": ["Count: "] * 64, "max_tokens": 400, "thickets": {"every": True}}


def health(server: Server) -> dict:
    with urllib.request.urlopen(server.health, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def engine_of(server: Server) -> psutil.Process:
    [engine] = [each for each in psutil.Process(server.process.pid).children() if "engine_main" in str(each.cmdline())]
    return engine


@contextmanager
def under_way(server: Server) -> Iterator[Future[httpx.Response]]:
    """Ask for something long; the block begins when the engine is at it, which its processor time shows."""

    def used_s() -> float:
        return float(engine_of(server).cpu_times().user)

    with ThreadPoolExecutor(1) as pool:
        before_s = used_s()
        long = pool.submit(httpx.post, f"{server.url}/completions", json=LONG, timeout=PATIENCE_S)
        wait_for(lambda: used_s() > before_s + 0.1 or long.done())
        assert not long.done()
        yield long


def test_a_client_that_goes_away_is_not_waited_for(server: Server) -> None:
    before = health(server)
    with under_way(server) as long:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/completions", json={**LONG, "prompt": ["Count: "] * 8}, timeout=0.2)
        assert long.result().status_code == 200
    wait_for(lambda: health(server)["left"] == before["left"] + 8)
    assert health(server)["answered"] == before["answered"] + 64


def test_a_full_queue_and_a_late_answer_are_errors_to_try_again(desk: Desk) -> None:
    app = make_app([desk], ServeSettings(timeout_s=0.3))
    client = TestClient(app, base_url="http://localhost")
    gather_s, desk.dispatcher._gather_s = desk.dispatcher._gather_s, 2.0  # longer than anyone waits, on any machine
    late = client.post("/v1/completions", json=LONG)
    desk.dispatcher._gather_s = gather_s
    assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
    full = client.post("/v1/completions", json={**LONG, "prompt": ["Count: "] * 256, "max_tokens": 1})
    # The whole queue is theirs if nobody waits any more.
    assert full.status_code in (200, 504)
    desk.dispatcher._most_waiting, before = 2, desk.dispatcher._most_waiting
    try:
        busy = client.post("/v1/completions", json=LONG)
    finally:
        desk.dispatcher._most_waiting = before
    assert (busy.status_code, busy.json()["error"]["code"]) == (429, "queue_full")
    assert busy.headers["retry-after"] == "1"


class Failing(Judge):
    """A judge whose verifier fails at the replies to one question."""

    def extract(self, text: str, example: Example) -> str | None:
        if example.question == "Trap":
            raise InputError("problem.verifier mine:judge raised KeyError: 'x'")
        return super().extract(text, example)


# What one request may hold that others must not suffer for: status, and words of its error.
TRAPS = {
    "too long": ({"prompt": "3 or 4? " * 100}, 400, "this model holds at most"),
    "too many tokens": ({"prompt": "3 or 4?", "max_tokens": 10**12}, 400, "this model holds at most"),
    "verifier": ({"prompt": "Trap"}, 500, "could not be judged: problem.verifier mine:judge raised KeyError"),
    "half a character": ({"prompt": "3 or \ud800"}, 400, "surrogate"),
    "half a field": ({"prompt": "3 or 4?", "\ud800": 1}, 400, "surrogate"),
    "no number": ({"prompt": "3 or 4?", "temperature": float("nan")}, 400, "NaN"),
    "a hair above 0": ({"model": "latest:base", "prompt": "3 or 4?", "temperature": 1e-44}, 400, "temperature: "),
    "deep": ({"prompt": "3 or 4?", "tools": 2}, 400, "tools: "),
    "token ids": ({"prompt": [[1, 2, 3]]}, 400, "prompt: token ids cannot be read, only text; found [[1, 2, 3]]"),
    "likelihoods": ({"prompt": "3 or 4?", "logprobs": 1, "echo": True}, 400, "a vote has no log-probabilities"),
    "no turns": ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages.0.role: "),
    "template": ({"messages": [{"role": "user", "content": "Refuse"}]}, 400, "(no such turn)"),
    "a long stop": ({"prompt": "3 or 4?", "stop": "x" * 100_000}, 200, ""),
    "odd letters": ({"prompt": "3\x00 or \u202e4\u200d? \U0001f9ea\ufffe"}, 200, ""),
    "odd stops": ({"prompt": "3 or 4?", "stop": ["\x00", "\u202e", "\U0001f9ea"]}, 200, ""),
}


def test_what_is_wrong_with_one_request_is_its_own_error(home: Home, stored: Stored) -> None:
    found = find_model(home, "latest")
    parts = parts_for(found, "cpu")
    tokenizer = load_tokenizer(parts.spec.model_path)
    refusal = "{% if messages[0]['content'] == 'Refuse' %}{{ raise_exception('no such turn') }}{% endif %}"
    tokenizer.chat_template = refusal + tokenizer.chat_template
    judge = Failing(parts.judge.problem, parts.judge.reasoning)
    parts = replace(parts, judge=judge, template=PromptTemplate(tokenizer))
    desk = Desk(catalogue_of(home, found, "latest"), parts, open_engine=lambda: build_engine(parts.spec))
    desk.dispatcher._gather_s = 2.0  # so that all are one batch
    client = TestClient(make_app([desk], ServeSettings()), base_url="http://localhost", raise_server_exceptions=False)

    def post(body: str) -> httpx.Response:
        path = "chat/completions" if '"messages"' in body else "completions"
        return client.post(f"/v1/{path}", content=body, headers={"Content-Type": "application/json"})

    # Deeper than Python's stack: what reads it and what would repeat it in an error must not run out of that.
    deep = [
        json.dumps({"model": "latest", "prompt": "3 or 4?", "tools": 2}).replace("2", "[" * n + "]" * n)
        for n in (400, 800, 100_000)
    ]
    bodies = [json.dumps({"model": "latest", "max_tokens": 8} | body) for body, *_ in TRAPS.values()]
    try:
        desk.dispatcher.wait_until_ready()
        with ThreadPoolExecutor(len(bodies) + len(deep) + 1) as pool:
            good = pool.submit(post, json.dumps({"model": "latest", "prompt": stored.prompts}))
            trapped = list(pool.map(post, [*bodies, *deep]))
            answered = good.result()
        counts = desk.dispatcher.counts
    finally:
        desk.dispatcher.close()
    assert answered.status_code == 200
    assert [each["answer"] for each in answered.json()["thickets"]] == stored.votes
    for name, reply, (_, status, words) in zip(TRAPS, trapped, TRAPS.values(), strict=False):
        assert (name, reply.status_code) == (name, status)
        if status != 200:
            assert words in reply.json()["error"]["message"], name
    assert [each.status_code for each in trapped[len(bodies) :]] == [400] * len(deep)
    assert trapped[2].json()["error"]["code"] == "verifier_failed"
    assert trapped[2].headers["x-should-retry"] == "false"
    assert (counts.failed, counts.starts) == (1, 1)


@pytest.mark.slow
def test_a_killed_engine_is_started_again_and_clients_that_try_again_notice_nothing(home: Home, stored: Stored) -> None:
    with serving(home, "latest", "--wrap") as server:
        first = engine_of(server)
        with under_way(server) as long:
            first.send_signal(signal.SIGKILL)
            refused = long.result()
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "engine_lost"
        assert "SIGKILL" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"] == "1"
        client = server.client(max_retries=300)
        turns = [[{"role": "user", "content": question}] for question in stored.questions]
        found = [client.chat.completions.create(model="latest", messages=each) for each in turns]
        assert [each.thickets["answer"] for each in found] == stored.votes
        assert health(server)["starts"] == 2
        assert engine_of(server).pid != first.pid
        second = engine_of(server)
    assert psutil.wait_procs([second], timeout=PATIENCE_S)[1] == []


@pytest.mark.slow
def test_64_clients_through_a_kill_of_the_engine(home: Home, stored: Stored) -> None:
    """For seconds here; THICKETS_LOAD_S says for how many, for instance 120, of which the kill is in the middle."""
    seconds = float(os.environ.get("THICKETS_LOAD_S", "8"))
    with serving(home, "latest", "--wrap") as server:
        process, over = psutil.Process(server.process.pid), threading.Event()
        statuses: Counter[int] = Counter()
        wrong: list[object] = []
        lock = threading.Lock()

        def ask_on(start: int) -> None:
            place = start
            with httpx.Client(timeout=PATIENCE_S) as client:
                while not over.is_set():
                    place = (place + 1) % len(stored.questions)
                    turn = {"role": "user", "content": stored.questions[place]}
                    answer = client.post(f"{server.url}/chat/completions", json={"model": "latest", "messages": [turn]})
                    with lock:
                        statuses[answer.status_code] += 1
                        if answer.status_code == 200 and answer.json()["thickets"]["answer"] != stored.votes[place]:
                            wrong.append((place, answer.json()))
                    if answer.status_code != 200:
                        time.sleep(float(answer.headers["retry-after"]) / 10)

        with ThreadPoolExecutor(64) as pool:
            clients = [pool.submit(ask_on, start) for start in range(64)]
            try:
                wait_for(lambda: statuses[200] > 256)  # what it allocates once, it has by then
                early = process.memory_info().rss
                time.sleep(seconds / 2)
                engine_of(server).send_signal(signal.SIGKILL)
                time.sleep(seconds / 2)
                # With the next engine.
                wait_for(lambda: httpx.get(server.health, timeout=PATIENCE_S).status_code == 200)
            finally:
                over.set()
            for client in clients:
                client.result()
        late, counts = process.memory_info().rss, health(server)
    assert not wrong
    assert set(statuses) <= {200, 503}
    assert counts["answered"] == statuses[200]  # none twice
    assert counts["failed"] == statuses[503] > 0
    assert (counts["waiting"], counts["starts"]) == (0, 2)
    assert late < early + (32 << 20)
    print(f"{seconds:g} s: {dict(statuses)}, {counts}, {early >> 20} to {late >> 20} MiB")


def test_a_merge_is_served_and_a_network_of_signals(merged: RunSummary) -> None:
    home = Home(merged.folder.parents[1])
    [desk] = open_desks(home, "latest", None)
    try:
        desk.dispatcher.wait_until_ready()
        root = desk.catalogue.root
        assert f"{root}:merge" in desk.catalogue.names()
        client = TestClient(make_app([desk], ServeSettings()), base_url="http://localhost")
        manifest = MergeManifest.load(home.run(root).merge)
        answerer = open_ensemble(manifest)
        question = answerer.problem.examples(3, 0)[2].question
        [expected] = answerer.ask([question]).rows
        found = {}
        for name in ("latest:merge", "latest:base", "latest"):
            body = {"model": name, "messages": [{"role": "user", "content": question}], "thickets": {"wrap": True}}
            found[name] = client.post("/v1/chat/completions", json=body).json()["thickets"]
        assert found["latest:merge"]["answer"] == expected.answer != found["latest:base"]["answer"]
        assert found["latest"]["experts"] >= 1
    finally:
        desk.dispatcher.close()


def test_a_run_that_is_not_there_is_said_before_anything_is_loaded(home: Home, thickets) -> None:
    status, out, err = thickets("serve", "nothing", "--home", str(home.root), "--port", "0")
    assert (status, out) == (2, "")
    assert "error: RUN: 'nothing' fits no run" in err
    status, _, err = thickets("serve", "latest", "--home", str(home.root), "--host", "0.0.0.0", "--port", "0")
    assert status == 2
    assert "error: --host: 0.0.0.0 can be reached from other machines" in err
