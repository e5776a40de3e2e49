"""Creates the deployments on the Prefect server of PREFECT_API_URL, and the work pool that they wait in."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker

from thickets.flows.deployments import POOL
from thickets.flows.deployments.definitions import Definition, definitions


def apply_deployments(pool: str = POOL) -> list[str]:
    """Create or update every deployment on the server of PREFECT_API_URL, and the work pool if there is none.

    A second call changes nothing.

    Args:
        pool: Name of the work pool; one that exists keeps its type and its settings.

    Returns:
        The names, such as ``randopt/search``.
    """
    create_process_pool(pool)
    for definition in definitions():
        _apply(definition, pool)
    return [definition.full_name for definition in definitions()]


def create_process_pool(pool: str) -> None:
    """Create a work pool whose runs are processes on the worker's machine, unless there is one of that name."""
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
        except ObjectAlreadyExists:
            return


def _apply(definition: Definition, pool: str) -> None:
    deployment = definition.flow.to_deployment(
        definition.name,
        description=definition.description,
        tags=list(definition.tags),
        parameters=definition.parameters,
        schedules=_schedules(definition),
        work_pool_name=pool,
        entrypoint_type=EntrypointType.MODULE_PATH,
        enforce_parameter_schema=True,
    )
    assert isinstance(deployment, RunnerDeployment)  # a coroutine only where an event loop runs
    deployment.apply()


def _schedules(definition: Definition) -> list[DeploymentScheduleCreate]:
    if definition.cron is None:
        return []
    return [DeploymentScheduleCreate(schedule=CronSchedule(cron=definition.cron, timezone="UTC"), active=False)]
