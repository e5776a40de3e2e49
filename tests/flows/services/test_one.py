"""One service in the foreground, as a container has it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from thickets.flows.services import one
from thickets.storage.errors import InputError

AUTH = "operator:correct-horse-battery"


@pytest.fixture(autouse=True)
def _free_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PREFECT_PORT", "MLFLOW_PORT"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            monkeypatch.setattr(one, name, probe.getsockname()[1])
    monkeypatch.setenv("THICKETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://thickets@database/prefect")
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "postgresql://thickets@database/mlflow")


@pytest.mark.parametrize("name", one.SERVERS)
def test_a_server_listens_everywhere_and_keeps_its_password_out_of_its_arguments(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("THICKETS_AUTH", AUTH)
    command, environment = one.server(name)
    assert command[1:3] == ["-m", name]
    assert command[command.index("--host") + 1] == "0.0.0.0"
    assert "correct-horse" not in " ".join(command)
    assert "THICKETS_AUTH" not in environment
    assert any("correct-horse" in value for value in environment.values())
    assert not list((tmp_path / "home").glob("*.db")), "PostgreSQL is asked, and no file is made beside it"


def test_without_a_password_no_server_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THICKETS_AUTH", raising=False)
    with pytest.raises(InputError, match="THICKETS_AUTH"):
        one.main(["prefect"])


def test_a_workers_clients_get_the_password_and_the_worker_does_not_pass_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THICKETS_AUTH", AUTH)
    command, environment = one.worker()
    assert command[1:] == ["-m", "thickets.flows.services.worker"]
    assert environment["PREFECT_API_AUTH_STRING"] == AUTH
    assert environment["MLFLOW_TRACKING_PASSWORD"] == "correct-horse-battery"
    assert "THICKETS_AUTH" not in environment


@pytest.mark.parametrize(("arguments", "says"), [([], "service: found ''"), (["redis"], "'redis'; use prefect")])
def test_another_service_is_refused(arguments: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        one.main(arguments)


@pytest.mark.parametrize("name", one.SERVERS)
def test_a_server_that_does_not_answer_is_not_healthy(name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        one.main([name, "--healthy"])
    assert ended.value.code == 1
