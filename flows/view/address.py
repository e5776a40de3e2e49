"""Where the pages are served, and to whom: the rules of `thickets up`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from thickets.flows.services.settings import (
    AUTH_VARIABLE,
    Credentials,
    credentials_of,
    is_loopback,
    usable_port,
)
from thickets.storage.errors import InputError

_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port to listen at.

    Attributes:
        host: Without brackets.
        port: A free one.
        credentials: What a browser must give; may be None on loopback.
    """

    host: str
    port: int
    credentials: Credentials | None = None

    @property
    def url(self) -> str:
        """The address for a browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def is_ours(self, host: str) -> bool:
        """Tell whether a request that names a host may be answered.

        On loopback no other name is taken: a page of somebody else's could otherwise have its own name lead here, and
        read what only this machine may (DNS rebinding). Elsewhere the password stands before that.
        """
        return not is_loopback(self.host) or host in _LOOPBACK_NAMES or host == self.host


def make_address(host: str, port: int) -> Address:
    """Check host, port and credentials; port 0 becomes a free port.

    Raises:
        InputError: The port is taken, the host cannot be bound, or it is a wider one without credentials.
    """
    host = host.removeprefix("[").removesuffix("]")
    credentials = credentials_of(os.environ.get(AUTH_VARIABLE))
    if not is_loopback(host) and credentials is None:
        raise InputError(
            f"--host: {host} can be reached from other machines, and whoever reaches these pages can read every answer "
            f"of every run here; set {AUTH_VARIABLE}=user:password (at least 12 characters), or stay with 127.0.0.1"
        )
    return Address(host, usable_port("--port", host, port), credentials)
