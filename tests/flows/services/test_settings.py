"""What `thickets up` refuses, before anything is started."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.command_line import refused
from thickets.flows.config.run import RunConfig
from thickets.flows.services.settings import AUTH_VARIABLE, credentials_of, make_settings
from thickets.storage.errors import InputError

PASSWORD = "correct-horse-battery"


def test_a_wider_address_needs_a_password(thickets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(AUTH_VARIABLE, raising=False)
    line = refused(thickets("up", "--host", "0.0.0.0", "--home", str(tmp_path / "home")))
    assert line.startswith("--host: 0.0.0.0 can be reached")
    assert AUTH_VARIABLE in line
    monkeypatch.setenv(AUTH_VARIABLE, f"operator:{PASSWORD}")
    settings = make_settings(tmp_path, "0.0.0.0", 0, 0)
    assert settings.credentials is not None
    assert settings.prefect_api.startswith("http://127.0.0.1:")
    assert PASSWORD not in repr(settings)


@pytest.mark.parametrize("text", ["operator", f":{PASSWORD}", "operator:short", f"operator:{PASSWORD} x"])
def test_weak_credentials_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InputError, match=AUTH_VARIABLE) as error:
        credentials_of(text)
    assert text.partition(":")[2][:12] not in str(error.value) or ":" not in text


def test_a_busy_port_is_named(thickets, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(thickets("up", "--mlflow-port", str(port), "--prefect-port", "0", "--home", str(tmp_path)))
    assert line.startswith(f"--mlflow-port: cannot listen at 127.0.0.1:{port}")
    line = refused(thickets("up", "--mlflow-port", "4200", "--home", str(tmp_path)))
    assert "give them different ones" in line


def test_down_and_status_without_services(thickets, tmp_path: Path) -> None:
    status, _, err = thickets("down", "--home", str(tmp_path / "none"))
    assert (status, "no services" in err) == (0, True)
    status, out, _ = thickets("status", "--home", str(tmp_path / "none"))
    assert (status, "no services are up" in out) == (0, True)


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ({"tracking": {"uri": f"http://me:{PASSWORD}@host:5000"}}, "tracking.uri"),
        ({"storage": {"home": "x", "shards": f"sftp://me:{PASSWORD}@host/x"}}, "storage.shards"),
    ],
)
def test_a_configuration_takes_no_password(config: Callable[..., RunConfig], section: dict, field: str) -> None:
    with pytest.raises(InputError, match=field) as error:
        config(**section)
    assert PASSWORD not in str(error.value)
