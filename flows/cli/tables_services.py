"""Terminal tables of the services' status."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from thickets.flows.services.state import ServicesState, seconds_up
from thickets.flows.services.status import Status
from thickets.tasks.results.text import duration

_GIB = 2**30


def status_lines(status: Status, state: ServicesState | None) -> Iterator[object]:
    """Yield a line on whether the services are up, and a table each of services and flow runs."""
    room = f"{status.free_bytes / _GIB:.0f} GiB free in {status.home}"
    if not status.is_up and any(service.is_running for service in status.services):
        yield f"nobody looks after the services any more; end them with `thickets down`, then start them again. {room}"
    elif not status.is_up or state is None:
        yield f"no services are up; start them with `thickets up`. {room}"
    else:
        yield f"up for {duration(seconds_up(state))}, {room}"
    if status.services:
        services = Table("service", "address", "state")
        for service in status.services:
            services.add_row(service.name, service.address, "running" if service.is_running else "ended")
        yield services
    if status.flow_runs:
        runs = Table("flow run", "state", "id")
        for run in status.flow_runs:
            runs.add_row(
                run.name, f"{run.state}, but its process is gone" if run.is_dead else run.state, run.flow_run_id
            )
        yield runs
    if any(run.is_dead for run in status.flow_runs):
        yield "mark what is gone with `thickets status --repair`, then `prefect flow-run retry ID`"
