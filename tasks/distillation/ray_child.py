"""Does a distillation's jobs on a GPU of a Ray cluster, in an actor that ends with its job."""

from __future__ import annotations

import socket
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from thickets.storage.errors import InputError, RunError, ThicketsError, TransientError
from thickets.tasks.distillation.child import Told, training_error
from thickets.tasks.distillation.jobs import Job, Tell
from thickets.tasks.scoring.executors.log_lines import LineSender, LogLine
from thickets.tasks.scoring.executors.messages import Failed
from thickets.tasks.scoring.executors.ray_cluster import RayCluster
from thickets.tasks.scoring.executors.ray_environment import ray_environment
from thickets.tasks.scoring.executors.ray_machines import gpu_holders

# For a GPU that the run's own engines have just given back.
_STARTS_WITHIN_S = 300.0
_LOOK_EVERY_S = 2.0

R = TypeVar("R")


class JobActor:
    """Runs in a process of the cluster, with one GPU of its own."""

    def __init__(self) -> None:
        self._told: SimpleQueue[Told | LogLine] = SimpleQueue()
        LineSender(self._told.put)

    def host(self) -> str:
        """Return the name of this machine."""
        return socket.gethostname()

    def run(self, job: Job[Any]) -> Any:
        """Do the job with this machine's copy of the base.

        Returns:
            Its result, or a `Failed`.
        """
        try:
            return job.elsewhere().run(lambda *arguments: self._told.put(Told(arguments)))
        except InputError as error:
            return Failed.by(None, InputError(f"on {self.host()}: {error}"))
        except Exception as error:
            return Failed.by(None, error)

    def told(self) -> list[Told | LogLine]:
        """Return what there is to tell since the last call; answers while `run` is under way."""
        found = []
        try:
            while True:
                found.append(self._told.get_nowait())
        except Empty:
            return found


def run_on_ray(
    job: Job[R], tell: Tell, cluster: RayCluster, *, gpus: int = 1, starts_within_s: float = _STARTS_WITHIN_S
) -> R:
    """Do a job on a GPU of the cluster; its actor is gone when this returns or raises.

    Args:
        job: What to do; its folders are seen by every machine.
        tell: Told what the job tells, in this process.
        cluster: Where it is done.
        gpus: GPUs that it takes.
        starts_within_s: How long to wait for a GPU that is free.

    Raises:
        ThicketsError: The input is at fault.
        RunError: No GPU becomes free.
        TransientError: The actor was lost, or failed; another attempt goes on at the last checkpoint.
    """
    import ray

    variables = ray_environment(threads=cluster.cores_per_gpu, is_local=cluster.is_local)
    actor = (
        ray.remote(JobActor)
        .options(
            num_cpus=0,
            num_gpus=gpus,
            max_restarts=0,
            max_concurrency=2,  # `told` beside `run`
            runtime_env={"env_vars": variables},
        )
        .remote()
    )
    try:
        if not ray.wait([host := actor.host.remote()], timeout=starts_within_s)[0]:
            raise RunError(
                f"training: no GPU of the Ray cluster at {cluster.address} became free within "
                f"{starts_within_s:.0f} s; {gpu_holders()}"
            )
        ray.get(host)
        answer = actor.run.remote(job)
        while not ray.wait([answer], timeout=_LOOK_EVERY_S)[0]:
            _pass_on(ray.get(actor.told.remote()), tell)
        result = ray.get(answer)
        _pass_on(ray.get(actor.told.remote()), tell)
    except ThicketsError:
        raise
    except ray.exceptions.RayError as error:
        raise TransientError(
            f"training: the process that trains on the Ray cluster is lost: {str(error).splitlines()[0]}; the same "
            "command goes on from the last checkpoint"
        ) from error
    finally:
        ray.kill(actor, no_restart=True)
    if isinstance(result, Failed):
        raise training_error(result)
    done: R = result
    return done


def _pass_on(told: list[Told | LogLine], tell: Tell) -> None:
    for message in told:
        if isinstance(message, LogLine):
            message.log()
        else:
            tell(*message.arguments)
