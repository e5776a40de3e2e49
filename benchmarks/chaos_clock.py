"""The clock that `benchmarks.chaos` steps under a running search: `stepped_clock.c`, made with the C compiler here."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("stepped_clock.c")


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of day that some processes see.

    Attributes:
        library: What these processes load first.
        file: Holds the seconds by which their clock is off.
    """

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables of these processes."""
        return {"LD_PRELOAD": str(self.library), "STEPPED_CLOCK": str(self.file)}

    def step(self, seconds: int) -> None:
        """Set how far the clock is off, at once for every process that sees it."""
        if not self.file.exists():
            self.file.write_bytes(struct.pack("l", seconds))
            return
        with self.file.open("r+b") as file:  # in place: they have it mapped
            file.write(struct.pack("l", seconds))


def make_library(folder: Path) -> Path | str:
    """Make the library in a folder; return its path, or why that cannot be done here."""
    if sys.platform != "linux":
        return "only on Linux"
    library = folder / "stepped_clock.so"
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "there is no C compiler"
    return library if done.returncode == 0 else f"the C compiler says: {done.stderr.strip().splitlines()[0]}"
