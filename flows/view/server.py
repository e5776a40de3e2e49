"""Serves the pages until Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from thickets.flows.view.address import Address
from thickets.flows.view.app import make_app
from thickets.storage.home import Home


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(home: Home, address: Address, first: str | None, ready: Callable[[], None]) -> None:
    """Serve the pages of a home until a signal ends it.

    Args:
        home: Whose runs are shown.
        address: Where.
        first: Id of the run to begin with; None: the table of all.
        ready: Called when it listens.
    """
    app = make_app(home, address, first)
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    try:
        _Server(config, ready).run()
    finally:
        app.state.runs.close()
