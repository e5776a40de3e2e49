"""What `thickets up` refuses, before anything is started."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.flows.command_line import refused
from tests.patience import PATIENCE_S
from tests.stoppable_server import has_ipv6
from thickets.flows.config.run import RunConfig
from thickets.flows.services.launch import _mlflow
from thickets.flows.services.settings import (
    AUTH_VARIABLE,
    Credentials,
    ServiceSettings,
    credentials_of,
    make_settings,
)
from thickets.storage.errors import InputError, RunError
from thickets.storage.tracking import store
from thickets.tasks.scoring.executors import ray_cluster

PASSWORD = "correct-horse-battery"


def test_a_wider_address_needs_a_password(thickets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(AUTH_VARIABLE, raising=False)
    line = refused(thickets("up", "--host", "0.0.0.0", "--home", str(tmp_path / "home")))
    assert line.startswith("--host: 0.0.0.0 can be reached")
    assert AUTH_VARIABLE in line
    monkeypatch.setenv(AUTH_VARIABLE, f"operator:{PASSWORD}")
    settings = make_settings(tmp_path, "0.0.0.0", 0, 0, 0)
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
        for option in ("--mlflow-port", "--view-port"):
            ports = {"--prefect-port": "0", "--mlflow-port": "0", "--view-port": "0", option: str(port)}
            line = refused(thickets("up", *itertools.chain(*ports.items()), "--home", str(tmp_path)))
            assert line.startswith(f"{option}: cannot listen at 127.0.0.1:{port}")
    line = refused(thickets("up", "--mlflow-port", "4200", "--home", str(tmp_path)))
    assert line.startswith("--mlflow-port: 4200 is --prefect-port too; give them different ones")
    line = refused(thickets("up", "--view-port", "5000", "--home", str(tmp_path)))
    assert line.startswith("--view-port: 5000 is --mlflow-port too; give them different ones")


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize(("host", "reached_at"), [("::1", "[::1]"), ("[::1]", "[::1]"), ("::", "[::1]")])
def test_an_address_of_ipv6_stands_in_brackets_in_a_url(
    host: str, reached_at: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(AUTH_VARIABLE, f"operator:{PASSWORD}")  # :: is everybody's
    settings = make_settings(tmp_path, host, 0, 0, 0)
    assert settings.prefect_api == f"http://{reached_at}:{settings.prefect_port}/api"
    assert settings.mlflow == f"http://{reached_at}:{settings.mlflow_port}"
    with socket.socket(socket.AF_INET6) as server:
        server.bind((host.strip("[]"), settings.mlflow_port))
        server.listen()
        address = urlsplit(settings.mlflow)
        socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE_S).close()


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_whoever_is_given_an_address_of_ipv6_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: "installed")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        address = f"[::1]:{server.getsockname()[1]}"
        assert store.check_address(f"http://{address}") == "http"
        store.check_reachable(f"http://{address}")
        ray_cluster.check_reachable(address)
        with pytest.raises(InputError, match=rf"cannot listen at \[::1\]:{server.getsockname()[1]}: "):
            make_settings(Path("home"), "::1", server.getsockname()[1], 0, 0)
    with pytest.raises(RunError, match=r"cannot reach http://\[::1\]"):
        store.check_reachable(f"http://{address}")
    with pytest.raises(InputError, match=r"no Ray cluster at \[::1\]"):
        ray_cluster.check_reachable(address)


def test_a_percent_sign_in_the_home_is_one_for_mlflow_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mlflow.server.auth.config import read_auth_config  # seconds, for this test alone

    home = tmp_path / "50% of %(here)s"
    (home / "services").mkdir(parents=True)
    settings = ServiceSettings(home, "127.0.0.1", 1, 2, 3, Credentials("op%erator", PASSWORD))
    launch = _mlflow(settings)
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", launch.environment["MLFLOW_AUTH_CONFIG_PATH"])
    read = read_auth_config()
    assert (read.database_uri, read.admin_username) == (f"sqlite:///{home}/mlflow-auth.db", "op%erator")


def test_a_home_that_no_address_of_sqlite_can_name_is_refused(thickets, tmp_path: Path) -> None:
    home = str(tmp_path / "what?")
    line = refused(thickets("up", "--prefect-port", "0", "--mlflow-port", "0", "--home", home))
    assert line.startswith(f"storage.home: {home} holds a '?'")


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
