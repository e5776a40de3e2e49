"""The environment variables that processes of a Ray cluster get from the one that starts the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

# Settings of the libraries below us (flows/runtime/environment.py), and the folders that they download to and compile
# into: without them every machine and every job would fill the home folder, or compile anew.
_PASSED_ON = (
    "GOMP_SPINCOUNT",
    "TOKENIZERS_PARALLELISM",
    "DO_NOT_TRACK",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_ENDPOINT",
    "XDG_CACHE_HOME",
    "VLLM_CACHE_ROOT",
    "VLLM_NO_USAGE_STATS",
    "TRITON_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "CUDA_CACHE_PATH",
)


def ray_environment(*, threads: int | None, is_local: bool, ours: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a process of the cluster.

    Args:
        threads: CPU threads of each, or None to leave them to Ray, which gives a process without a core of its own one.
        is_local: The cluster was started by this process; elsewhere the packages are installed, and the folders of
            this process's path do not exist.
        ours: The variables of this process; None: as they are.
    """
    ours = os.environ if ours is None else ours
    found = {name: ours[name] for name in _PASSED_ON if name in ours}
    if threads is not None:
        found["OMP_NUM_THREADS"] = str(threads)
    if is_local:
        found["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return found
