"""A worker of this machine, `python -m thickets.flows.services.worker`: creates its deployments, then waits for runs.

Flow runs that were killed in its home are marked first.

Reads PREFECT_API_URL and the other variables of `services.launch`; on further machines they are set by hand.
"""

from __future__ import annotations

import os
import socket
import sys

from thickets.flows.config.run import StorageConfig
from thickets.flows.deployments import POOL
from thickets.flows.deployments.apply import apply_deployments
from thickets.flows.placement.accelerator import create_limits
from thickets.flows.runtime.environment import WORKER
from thickets.flows.runtime.repair import repair_at_start
from thickets.storage.home import Home


def main() -> None:
    """Create deployments and limits, and replace this process by Prefect's worker."""
    for name, value in WORKER.items():
        os.environ.setdefault(name, value)
    print(f"deployments: {', '.join(apply_deployments())}", flush=True)
    print(f"one run at a time on each of: {', '.join(create_limits())}", flush=True)
    repair_at_start(Home(StorageConfig().home))
    command = ["-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", socket.gethostname()]
    os.execv(sys.executable, [sys.executable, *command])


if __name__ == "__main__":
    main()
