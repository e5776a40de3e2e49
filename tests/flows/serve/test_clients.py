"""`thickets serve`, asked by clients that others wrote: the `openai` package and `curl`."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from tests.flows.models.helpers import TEST_N
from tests.flows.serve.conftest import Server, Stored
from thickets.flows.results.summary import RunSummary

WRAP = {"thickets": {"wrap": True}}


def asked(client: openai.OpenAI, model: str, question: str, **more):
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(model=model, messages=messages, **{"extra_body": WRAP} | more)


def test_the_models_of_a_run_are_listed(server: Server, run: RunSummary) -> None:
    client, k = server.client(), run.evaluation.k
    names = [model.id for model in client.models.list()]
    ensemble = [run.run_id, *(f"{run.run_id}:{what}={n}" for what in ("k", "rank") for n in range(1, k + 1))]
    assert names == [*ensemble, f"{run.run_id}:base", "model"]
    assert client.models.retrieve("latest:k=1").id == f"{run.run_id}:k=1"


def test_the_ensemble_answers_as_it_did_in_its_run(server: Server, run: RunSummary, stored: Stored) -> None:
    client = server.client()
    found = [asked(client, run.run_id, question) for question in stored.questions]
    assert [each.thickets["answer"] for each in found] == stored.votes
    assert len(set(stored.votes)) > 2  # else the comparison says little
    for each in found:
        vote = each.thickets
        assert vote["experts"] == run.evaluation.k
        assert vote["experts_asked"] == sum(vote["votes"].values()) + vote["abstained"] <= vote["experts"]
        if vote["answer"] is not None:
            assert vote["answer"] in each.choices[0].message.content
    raw = client.completions.create(model=run.run_id, prompt=stored.prompts)
    assert [each["answer"] for each in raw.thickets] == stored.votes
    assert [choice.index for choice in raw.choices] == list(range(len(stored.prompts)))


def test_the_best_expert_and_the_base_write_what_they_wrote(server: Server, stored: Stored) -> None:
    client = server.client()
    for model, texts in {"latest:rank=1": stored.first, "latest:base": stored.base, "model": stored.base}.items():
        found = client.completions.create(model=model, prompt=stored.prompts)
        assert [choice.text for choice in found.choices] == texts


def test_turns_are_rendered_as_they_are_unless_they_are_to_be_wrapped(server: Server) -> None:
    client = server.client()
    bare = asked(client, "latest:base", "3 or 4?", extra_body=None, max_tokens=4)
    # What the tiny model's chat template makes of it.
    raw = client.completions.create(model="latest:base", prompt="[user] 3 or 4?\n[assistant] ", max_tokens=4)
    assert bare.choices[0].message.content == raw.choices[0].text
    assert bare.usage == raw.usage
    assert (bare.usage.completion_tokens, bare.choices[0].finish_reason) == (4, "length")
    assert asked(client, "latest:base", "3 or 4?", max_tokens=4).usage.prompt_tokens > bare.usage.prompt_tokens


def test_a_stream_says_the_same_and_ends(server: Server, stored: Stored) -> None:
    client, question = server.client(), stored.questions[0]
    whole = asked(client, "latest", question)
    with asked(client, "latest", question, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices] == [
        None,
        whole.choices[0].finish_reason,
    ]
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].thickets == whole.thickets
    with client.completions.create(model="latest", prompt=stored.prompts[0], stream=True) as stream:
        parts = list(stream)
    assert "".join(part.choices[0].text for part in parts) == text
    assert all(part.usage is None for part in parts)


def test_sampling_parameters_are_honoured(server: Server) -> None:
    client = server.client()

    def text(**more) -> str:
        return asked(client, "latest:rank=1", "3 or 4?", **{"max_tokens": 24} | more).choices[0].message.content

    greedy = text()
    assert greedy == text(temperature=0, top_p=1, n=1, presence_penalty=0, user="me") == text(seed=5)
    stop = greedy[6]
    assert text(stop=stop) == greedy[: greedy.index(stop)] == text(stop=["no such text", stop])
    hot = text(temperature=1.5, seed=5)
    assert hot == text(temperature=1.5, seed=5) != text(temperature=1.5, seed=6)
    assert len({text(temperature=1.5) for _ in range(4)}) > 1
    assert text(max_tokens=None, max_completion_tokens=3) == greedy[:3]


def test_all_experts_answer_if_that_is_asked_for(server: Server, run: RunSummary, stored: Stored) -> None:
    extra = {"thickets": {"wrap": True, "every": True}}
    found = [asked(server.client(), "latest", question, extra_body=extra) for question in stored.questions[:5]]
    assert {each.thickets["experts_asked"] for each in found} == {run.evaluation.k}
    assert [each.thickets["answer"] for each in found] == stored.votes[:5]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"top_p": 0.9}, "top_p"),
        ({"temperature": 0.7}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": [""]}, "stop"),
        ({"extra_body": {"guided_json": {}}}, "guided_json"),
        ({"extra_body": {"thickets": {"wraps": True}}}, "thickets.wraps"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_honoured_is_refused_by_name(server: Server, more: dict, named: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        asked(server.client(), "latest", "3 or 4?", **more)
    assert caught.value.body["param"] == named
    assert caught.value.body["message"].startswith(f"{named}: ")


def test_what_is_not_there_or_too_long_is_said_in_openais_form(server: Server, run: RunSummary) -> None:
    client = server.client()
    for name in ("gpt-4", "latest:k=99", "latest:rank=0", "latest:merge", f"{run.run_id}:"):
        with pytest.raises(openai.NotFoundError, match="allowed are") as missing:
            asked(client, name, "3 or 4?")
        assert missing.value.body["code"] == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        asked(client, "latest", "3 or 4? " * 100)
    assert long.value.body["code"] == "context_length_exceeded"
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    with pytest.raises(openai.BadRequestError, match="image_url"):
        client.chat.completions.create(model="latest", messages=[{"role": "user", "content": [part]}])
    with pytest.raises(openai.BadRequestError, match="no user turn"):
        client.chat.completions.create(model="latest", messages=[{"role": "system", "content": "Be kind."}])
    with pytest.raises(openai.NotFoundError, match="/v1/embeddings"):
        client.embeddings.create(model="latest", input="3")


def test_many_clients_at_once_share_the_experts(server: Server, stored: Stored) -> None:
    def counts() -> dict[str, int]:
        return json.loads(curl(server.health))

    before, clients = counts(), [server.client() for _ in range(8)]
    with ThreadPoolExecutor(24) as pool:
        places = [place for place in range(TEST_N) for _ in range(3)]
        calls = [pool.submit(asked, clients[i % 8], "latest", stored.questions[i % TEST_N]) for i in range(len(places))]
        answers = [call.result().thickets["answer"] for call in calls]
    assert answers == [stored.votes[i % TEST_N] for i in range(len(places))]
    after = counts()
    assert after["answered"] - before["answered"] == len(places)
    assert after["batches"] - before["batches"] < len(places) / 2


def curl(*arguments: str) -> str:
    command = ["curl", "--silent", "--show-error", "--max-time", "60", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_reads_answers_streams_and_errors(server: Server, stored: Stored) -> None:
    json_type = ("-H", "Content-Type: application/json")

    def post(path: str, body: dict) -> str:
        return curl(f"{server.url}/{path}", *json_type, "-d", json.dumps(body))

    chat = {"model": "latest", "messages": [{"role": "user", "content": stored.questions[0]}], **WRAP}
    found = json.loads(post("chat/completions", chat))
    assert (found["object"], found["thickets"]["answer"]) == ("chat.completion", stored.votes[0])
    lines = post("chat/completions", {**chat, "stream": True}).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(line.startswith("data: ") for line in lines[:-1])
    refused = json.loads(post("chat/completions", {**chat, "logit_bias": {"1": 2}}))["error"]
    assert (refused["param"], refused["type"]) == ("logit_bias", "invalid_request_error")
    assert json.loads(curl(f"{server.url}/models"))["data"][0]["object"] == "model"
    # As a form of a page of another origin would.
    assert "application/json" in json.loads(curl(f"{server.url}/completions", "-d", "{}"))["error"]["message"]
    stranger = json.loads(curl(f"{server.url}/models", "-H", "Host: evil.example"))["error"]["message"]
    assert stranger == "Host: found 'evil.example'; this server answers as localhost alone"
    broken = curl(f"{server.url}/completions", *json_type, "-d", "{")
    assert json.loads(broken)["error"]["message"].startswith("the request is not JSON")
