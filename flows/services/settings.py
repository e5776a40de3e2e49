"""The settings of `thickets up`: host, ports and password, checked."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from thickets.storage.errors import InputError

AUTH_VARIABLE = "THICKETS_AUTH"
_SHORTEST_PASSWORD = 12  # what MLflow demands


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password, for both servers; they live in the environment only."""

    user: str
    password: str

    @property
    def pair(self) -> str:
        """``user:password``, as basic authentication writes them."""
        return f"{self.user}:{self.password}"

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Home, address, ports and credentials of the servers.

    Attributes:
        home: Absolute; databases, logs and artifacts are in it.
        host: Address to bind to.
        prefect_port: Port of the Prefect server.
        mlflow_port: Port of the MLflow server.
        view_port: Port of the pages of `thickets view`.
        credentials: User name and password of all three; may be None on loopback.
    """

    home: Path
    host: str
    prefect_port: int
    mlflow_port: int
    view_port: int
    credentials: Credentials | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the servers."""
        return is_loopback(self.host)

    @property
    def reachable_host(self) -> str:
        """The host under which this machine reaches the servers, as it stands in a URL."""
        return _in_url({"0.0.0.0": "127.0.0.1", "localhost": "127.0.0.1", "::": "::1"}.get(self.host, self.host))

    @property
    def prefect_api(self) -> str:
        """PREFECT_API_URL of this machine."""
        return f"http://{self.reachable_host}:{self.prefect_port}/api"

    @property
    def mlflow(self) -> str:
        """MLFLOW_TRACKING_URI of this machine."""
        return f"http://{self.reachable_host}:{self.mlflow_port}"

    @property
    def view(self) -> str:
        """Where a browser of this machine finds the pages of `thickets view`."""
        return f"http://{self.reachable_host}:{self.view_port}"


def make_settings(home: Path, host: str, prefect_port: int, mlflow_port: int, view_port: int) -> ServiceSettings:
    """Check host, ports and credentials; port 0 becomes a free port.

    Raises:
        InputError: A port is taken, the host cannot be bound, or it is a wider one without credentials.
    """
    host = host.removeprefix("[").removesuffix("]")
    credentials = credentials_of(os.environ.get(AUTH_VARIABLE))
    if not is_loopback(host) and credentials is None:
        raise InputError(
            f"--host: {host} can be reached from other machines, and whoever reaches these servers can run code here; "
            f"set {AUTH_VARIABLE}=user:password (at least {_SHORTEST_PASSWORD} characters), or stay with 127.0.0.1"
        )
    ports = {"--prefect-port": prefect_port, "--mlflow-port": mlflow_port, "--view-port": view_port}
    taken: dict[int, str] = {0: ""}
    for option, port in ports.items():
        if (other := taken.setdefault(port, option)) and other != option:
            raise InputError(f"{option}: {port} is {other} too; give them different ones")
    prefect_port, mlflow_port, view_port = (usable_port(option, host, port) for option, port in ports.items())
    return ServiceSettings(home.absolute(), host, prefect_port, mlflow_port, view_port, credentials)


def credentials_of(text: str | None) -> Credentials | None:
    """Split ``user:password``.

    Raises:
        InputError: One of the two servers would refuse it; the message does not repeat it.
    """
    if not text:
        return None
    user, colon, password = text.partition(":")
    if not colon or not user or len(password) < _SHORTEST_PASSWORD or any(c.isspace() for c in text):
        raise InputError(
            f"{AUTH_VARIABLE}: found {len(user)} characters of user name and {len(password)} of password; it must read "
            f"user:password, without spaces, with at least {_SHORTEST_PASSWORD} characters of password"
        )
    return Credentials(user, password)


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _in_url(host: str) -> str:
    """Write an address of IPv6 in brackets: its colons are no port's."""
    return f"[{host}]" if ":" in host else host


def usable_port(option: str, host: str, port: int) -> int:
    """Return the port, or a free one for 0.

    Raises:
        InputError: Nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"{option}: cannot listen at {_in_url(host)}:{port}: {reason}; name another, or 0 for any"
            ) from None
        return int(probe.getsockname()[1])
