"""Finds the C compiler that Triton and vLLM call at run time, to build what starts their kernels."""

from __future__ import annotations

import os
import shutil

NO_COMPILER = "there is no C compiler (gcc or clang), which Triton and vLLM call when they run on a GPU: install gcc"


def c_compiler() -> str | None:
    """Return the path or name of the compiler that Triton would take; None if it would find none."""
    return os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
