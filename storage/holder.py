"""Which process holds something: written into locks and tags, and read by others to tell whether it is gone."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PID_SPACE = Path("/proc/self/ns/pid")
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, named so that no process of another machine, container or boot is taken for it.

    Attributes:
        pid: The process id.
        host: Name of its machine or container; ``-`` in a lock of earlier versions.
        boot: The kernel's id of this boot; ``-`` where the system has none. Containers on one machine share it.
        space: The kernel's name of the space that the pid belongs to; ``-`` where the system has none.
    """

    pid: int
    host: str = _UNKNOWN
    boot: str = _UNKNOWN
    space: str = _UNKNOWN

    @classmethod
    def this(cls) -> Self:
        """Return this process."""
        return cls(os.getpid(), socket.gethostname() or _UNKNOWN, _boot_id(), _pid_space())

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what `str` has written, or a bare pid; None for anything else."""
        parts = text.split()
        if not parts or len(parts) > 4 or not parts[0].isdigit():
            return None
        return cls(int(parts[0]), *parts[1:])

    def __str__(self) -> str:
        return f"{self.pid} {self.host} {self.boot} {self.space}"

    @property
    def title(self) -> str:
        """The process in words: its pid, and its machine if that is another."""
        is_elsewhere = self.host not in (_UNKNOWN, socket.gethostname())
        return f"process {self.pid}{f' on {self.host}' if is_elsewhere else ''}"

    @property
    def is_on_this_machine(self) -> bool:
        """Whether this machine's kernel knows, or before a restart knew, what the process has locked."""
        return self.host == socket.gethostname() or _UNKNOWN != self.boot == _boot_id()

    @property
    def is_gone(self) -> bool:
        """Whether the process has surely ended; of one on another machine or in another container nobody knows."""
        if self.host != socket.gethostname():
            return False
        if _UNKNOWN not in (self.boot, _boot_id()) and self.boot != _boot_id():
            return True
        import psutil  # a logged model answers without it

        return self.space == _pid_space() and not psutil.pid_exists(self.pid)


def _boot_id() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip() or _UNKNOWN
    except OSError:
        return _UNKNOWN


def _pid_space() -> str:
    try:
        return os.readlink(_PID_SPACE)
    except OSError:
        return _UNKNOWN
