"""Serves until it is told to stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

import uvicorn

from thickets.flows.serve.app import make_app
from thickets.flows.serve.desk import Desk
from thickets.flows.serve.settings import ServeSettings
from thickets.storage.errors import InputError

_GRACE_S = 5
_BACKLOG = 1024


def listen(settings: ServeSettings) -> socket.socket:
    """Take the port, before an engine is loaded for nothing.

    Raises:
        InputError: The address cannot be listened at.
    """
    host = settings.host.removeprefix("[").removesuffix("]")
    taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, settings.port))
    except (OSError, OverflowError) as error:
        taken.close()
        reason = getattr(error, "strerror", None) or error
        where = "--port" if not isinstance(error, socket.gaierror) else "--host"
        raise InputError(
            f"{where}: cannot listen at {settings.host}:{settings.port}: {reason}; name another, or port 0 for any"
        ) from None
    return taken


def address_of(taken: socket.socket) -> str:
    """Return the address that clients are given (``base_url``)."""
    host, port = taken.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def serve(desks: Sequence[Desk], settings: ServeSettings, taken: socket.socket, ready: Callable[[], None]) -> None:
    """Wait for the engines, then serve until SIGINT or SIGTERM.

    Args:
        desks: Whose models are served.
        settings: Key, times and prompts.
        taken: As `listen` returns it.
        ready: Called before the first request.

    Raises:
        ThicketsError: An engine cannot be started.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an end as by Ctrl-C, which takes the engines along
    try:
        for desk in desks:
            desk.dispatcher.wait_until_ready()
        config = uvicorn.Config(
            make_app(desks, settings),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=_GRACE_S,
            backlog=_BACKLOG,
        )
        taken.listen(_BACKLOG)  # whoever reads the address may call at once
        ready()
        with suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it has ended
            uvicorn.Server(config).run(sockets=[taken])
    finally:
        for desk in desks:
            desk.dispatcher.close()
        taken.close()
