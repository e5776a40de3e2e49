"""Draws the picture of `thickets view` in docs/view.md: the page of a question that a finished run's vote has broken.

    python -m benchmarks.view_picture latest

It needs Chromium, as `benchmarks.report_picture` does.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import uvicorn

from benchmarks.report_picture import shoot
from thickets import ThicketsError
from thickets.flows.config.run import StorageConfig
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.view.address import make_address
from thickets.flows.view.app import make_app
from thickets.storage.home import Home

TARGET = Path("docs/view.png")
SHOW = "broken"


def main() -> None:
    """Write the picture of one run's question."""
    parser = argparse.ArgumentParser(description="Write a picture of a question's page of a finished run.")
    parser.add_argument("run", nargs="?", default="latest", help="a run id, a unique prefix of one, or latest (latest)")
    parser.add_argument("--out", type=Path, default=TARGET, help=f"where to ({TARGET})")
    given = parser.parse_args()
    home = Home(StorageConfig().home)
    try:
        folder = find_run(home, given.run)
        with open_scores(home, folder) as scores:
            ids = scores.query(
                "SELECT example_id FROM outcomes WHERE outcome = ? ORDER BY n_answers DESC, position", [SHOW]
            )["example_id"]
    except ThicketsError as error:
        sys.exit(f"error: {error}")
    if not ids.len():
        sys.exit(f"error: the vote of {folder.run_id} has {SHOW} no question")
    with served(home) as address:
        shoot(f"{address}/runs/{folder.run_id}/examples/test/{quote(ids[0], safe='')}?show={SHOW}", given.out)


@contextmanager
def served(home: Home) -> Iterator[str]:
    """Serve the pages of a home from a thread; yields their address."""
    address = make_address("127.0.0.1", 0)
    app = make_app(home, address)
    config = uvicorn.Config(app, address.host, address.port, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server of the pages has not started")
        time.sleep(0.02)
    try:
        yield address.url.rstrip("/")
    finally:
        server.should_exit = True
        thread.join()
        app.state.runs.close()


if __name__ == "__main__":
    main()
