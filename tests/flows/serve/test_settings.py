"""The API key: demanded where others reach the server, never repeated, compared whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from thickets.flows.serve.app import make_app
from thickets.flows.serve.desk import Desk
from thickets.flows.serve.serve import address_of, listen
from thickets.flows.serve.settings import KEY_VARIABLE, ServeSettings, read_key
from thickets.storage.errors import InputError

KEY = "a-key-of-some-length"


def test_other_machines_need_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_key("127.0.0.1", None) is None
    assert read_key("::1", None) is None
    with pytest.raises(InputError, match="can be reached from other machines; set THICKETS_API_KEY"):
        read_key("0.0.0.0", None)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert read_key("0.0.0.0", None) == KEY
    file = tmp_path / "key"
    file.write_text(f"{KEY}-of-the-file\n")
    assert read_key("127.0.0.1", file) == f"{KEY}-of-the-file"
    with pytest.raises(InputError, match="--api-key-file: cannot read"):
        read_key("127.0.0.1", tmp_path / "absent")


@pytest.mark.parametrize("bad", ["", "short", "with white space in it", "nicht-nur-ascii-zeichen-ü"])
def test_a_weak_key_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setenv(KEY_VARIABLE, bad)
    with pytest.raises(InputError, match=f"found a key of {len(bad)} characters") as caught:
        read_key("127.0.0.1", None)
    assert not bad or bad not in str(caught.value)


def test_a_taken_port_is_said_before_a_model_is_loaded() -> None:
    with listen(ServeSettings(port=0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert address_of(taken) == f"http://127.0.0.1:{port}/v1"
        with pytest.raises(InputError, match=f"--port: cannot listen at 127.0.0.1:{port}: Address already in use"):
            listen(ServeSettings(port=port))


def test_nothing_but_health_is_answered_without_the_key(desk: Desk) -> None:
    settings = ServeSettings("0.0.0.0", key=KEY)
    assert KEY not in repr(settings)
    client = TestClient(make_app([desk], settings), base_url="http://some.name")
    assert client.get("/health").json()["status"] == "ready"
    body = {"model": "latest:base", "prompt": "3 or 4?", "max_tokens": 2}
    for sent in (None, "Bearer ", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "Bearer \xfc"):
        headers = {} if sent is None else {"Authorization": sent.encode("latin-1")}
        for answer in (
            client.get("/v1/models", headers=headers),
            client.post("/v1/completions", json=body, headers=headers),
        ):
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
    right = {"Authorization": f"Bearer {KEY}"}
    assert client.post("/v1/completions", json=body, headers=right).status_code == 200


def test_large_requests_are_refused(desk: Desk) -> None:
    client = TestClient(make_app([desk], ServeSettings()), base_url="http://localhost")
    answer = client.post("/v1/completions", json={"model": "latest", "prompt": "x" * (9 << 20)})
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "the request is larger than 8 MiB"
