"""How the process of the command `thickets` ends."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys


class QuickEnd:
    """Ends the process once its last clean-up has run, without the seconds that Python takes to clear its memory.

    Everything that libraries have registered to be done at the end is done first, for it is registered later: servers
    are stopped, threads are joined, temporary folders removed. The operating system takes the memory back by itself.

    Attributes:
        status: The exit status.
    """

    def __init__(self) -> None:
        """Register the end; call it before anything else registers its own."""
        self.status = 1
        atexit.register(self._end)

    def _end(self) -> None:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # whoever read it is gone
                stream.flush()
        os._exit(self.status)
