"""Creates the deployments on the Prefect server of PREFECT_API_URL, and the work pool that they wait in."""

from __future__ import annotations

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker

from flows.randopt import randopt

POOL = "thickets"


def apply_deployments(pool: str = POOL) -> list[str]:
    """Create or update every deployment on the server of PREFECT_API_URL, and the work pool if there is none.

    Calling it again changes nothing.

    Args:
        pool: Name of the work pool; one that is there keeps its type and its settings.

    Returns:
        The names, such as ``randopt/search``.
    """
    create_process_pool(pool)
    return [_apply(randopt, "search", pool)]


def create_process_pool(pool: str) -> None:
    """Create a work pool whose runs are processes on the worker's machine, unless there is one of that name."""
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
        except ObjectAlreadyExists:
            return


def _apply(flow: Flow, name: str, pool: str) -> str:  # type: ignore[type-arg]
    # By module path: the worker imports the installed package, so no folder of this machine is part of a deployment.
    deployment = flow.to_deployment(name, work_pool_name=pool, entrypoint_type=EntrypointType.MODULE_PATH)
    deployment.apply()
    return f"{flow.name}/{name}"
