"""The commands of processes in a sandbox, by how they are shut in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal, TypeAlias

Isolation: TypeAlias = Literal["bubblewrap", "landlock", "limits"]
"""``bubblewrap``: namespaces of its own, nothing of the machine but Python and libraries in sight, system calls
filtered. ``landlock``: the same files and system calls are refused, by the kernel alone. ``limits``: amounts of time,
memory and files; a program may read what this user may, and use the network."""

WHAT: dict[Isolation, str] = {
    "bubblewrap": "bubblewrap (namespaces of its own, system calls filtered)",
    "landlock": "Landlock and seccomp (files and system calls refused by the kernel)",
    "limits": "limits of time and memory alone: a program may read this user's files and use the network",
}
"""In words, for logs and reports."""

_HERE = Path(__file__).parent
_INSIDE = "inside"
# Where bubblewrap shows it.
_SHOWN = "/sandbox"
_START = "import sys; sys.path.insert(0, sys.argv[1]); from inside.{0} import main; del sys.path[0]; main()"
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/alternatives")


def command(isolation: Isolation, script: str, cpu_s: int, memory_bytes: int) -> list[str]:
    """Return the command of a process in a sandbox.

    Args:
        isolation: How it is shut in.
        script: A module of ``inside``.
        cpu_s: Most seconds of processor time.
        memory_bytes: Most memory.
    """
    # No user's or project's packages, nothing written beside a module; the environment is given, so it may be read.
    python = [sys.executable, "-s", "-S", "-B", "-P", "-c", _START.format(script)]
    settings = [str(cpu_s), str(memory_bytes), isolation]
    if isolation != "bubblewrap":
        return [*python, str(_HERE), *settings]
    shown = [path for path in (*_SYSTEM, *_folders_of_python()) if os.path.exists(path)]
    binds = [argument for path in shown for argument in ("--ro-bind", path, path)]
    return [
        "bwrap", "--unshare-all", "--die-with-parent", "--new-session", *binds,
        "--ro-bind", str(_HERE / _INSIDE), f"{_SHOWN}/{_INSIDE}", "--proc", "/proc", "--dev", "/dev", "--dir", "/empty",
        "--remount-ro", "/", "--chdir", "/empty", *python, _SHOWN, *settings,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """Return all that a program sees of the environment; the order of a set of words is the same in every run."""
    return {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}


def _folders_of_python() -> list[str]:
    """Return where the interpreter and its library lie; those of a virtual environment first lead to its own."""
    binary, library = Path(sys.executable), Path(os.__file__).parent
    found = {str(Path(sys.base_prefix)), str(binary.resolve().parent), str(library)}
    if Path(sys.prefix) != Path(sys.base_prefix):
        found |= {str(binary.parent), str(Path(sys.prefix) / "pyvenv.cfg")}
    # The system's own are shown already.
    return sorted(path for path in found if not path.startswith(("/usr", "/lib", "/bin")) and path != "/")
