"""Submits a search to a worker and follows it: `python -m benchmarks.chaos_submit CONFIG`.

Standard error has what is told of the flow run, and at the end its log; the exit status is 1 unless it is completed.
SIGTERM ends the following.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

from thickets.flows.config.file import load_config
from thickets.flows.runtime.environment import set_command_line_defaults

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

# A flow run's process sends its log every two seconds.
_LOG_WITHIN_S = 2.5


def main() -> None:
    set_command_line_defaults()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    from prefect.deployments import run_deployment

    from thickets.flows.deployments.client import SEARCH, follow
    from thickets.storage.errors import RunError

    # `client.start` leaves the home to the worker; this search has one already.
    parameters = {"config": load_config(sys.argv[1]).model_dump(mode="json", exclude_unset=True)}
    run: FlowRun = run_deployment(SEARCH, parameters=parameters, timeout=0)  # type: ignore[assignment]
    try:
        follow(run, on_progress=_tell, poll_s=0.5)
    except RunError as error:
        _tell(str(error))
        sys.exit(1)
    finally:
        _tell_log(run)


def _tell_log(run: FlowRun) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    time.sleep(_LOG_WITHIN_S)
    with get_client(sync_client=True) as client:
        for line in client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])), limit=200):
            _tell(f"{line.name}: {line.message}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
