"""The settings of `thickets serve`: address and API key, checked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from thickets.flows.services.settings import is_loopback
from thickets.storage.errors import InputError

KEY_VARIABLE = "THICKETS_API_KEY"
_SHORTEST_KEY = 16


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Where and how to serve.

    Attributes:
        host: Address to bind to.
        port: 0: any.
        key: What clients must send; None on loopback alone: nothing.
        timeout_s: How long a client waits for an answer at most.
        most_waiting: Most questions that wait for their turn.
        wraps: Whether the last user turn is put into the run's prompt template where a request does not say.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    key: str | None = field(default=None, repr=False)
    timeout_s: float = 600.0
    most_waiting: int = 256
    wraps: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def read_key(host: str, file: Path | None) -> str | None:
    """Read the API key from a file, or else from ``$THICKETS_API_KEY``.

    Raises:
        InputError: It cannot be read or is too weak, or there is none and other machines can reach the server; the
            message does not repeat it.
    """
    source, text = f"${KEY_VARIABLE}", os.environ.get(KEY_VARIABLE)
    if file is not None:
        source = "--api-key-file"
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--api-key-file: cannot read {file}: {getattr(error, 'strerror', error)}") from None
    if text is None:
        if not is_loopback(host):
            raise InputError(
                f"--host: {host} can be reached from other machines; set {KEY_VARIABLE} or --api-key-file to a key of "
                f"at least {_SHORTEST_KEY} characters, or stay with 127.0.0.1"
            )
        return None
    key = text.strip()
    if len(key) < _SHORTEST_KEY or not key.isascii() or any(each.isspace() for each in key):
        raise InputError(
            f"{source}: found a key of {len(key)} characters; it must have at least {_SHORTEST_KEY}, ASCII, without "
            "white space"
        )
    return key
