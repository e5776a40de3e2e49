"""The process of a temporary Prefect server: python -m ... <file descriptor that listens> <process to end with>."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

import uvicorn

from thickets.flows.runtime.environment import collect_garbage_seldom

_LOOK_EVERY_S = 1.0


def main(descriptor: int, owner: int) -> None:
    """Serve on a socket that listens already, until SIGTERM or the end of the owner, also by SIGKILL."""
    collect_garbage_seldom()
    threading.Thread(target=_end_with, args=(owner,), daemon=True).start()
    config = uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def _end_with(owner: int) -> None:
    while os.getppid() == owner:
        time.sleep(_LOOK_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
