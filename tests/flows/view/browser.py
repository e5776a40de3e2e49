"""A browser and a server of pages for it; tests that need them are skipped where there is no Chromium."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn

from thickets.flows.view.address import make_address
from thickets.flows.view.app import make_app
from thickets.storage.home import Home

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")


@contextmanager
def served(home: Home) -> Iterator[str]:
    """Serve the pages of a home from a thread; yields their address."""
    address = make_address("127.0.0.1", 0)
    app = make_app(home, address)
    server = uvicorn.Server(uvicorn.Config(app, address.host, address.port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    try:
        yield address.url.rstrip("/")
    finally:
        server.should_exit = True
        thread.join()
        app.state.runs.close()
