"""Scores shards on many engines of a Ray cluster: one engine per actor, every shard on the least busy one.

Ray places the actors and restarts the dead ones; it repeats no shard. Prefect does: a shard whose actor died fails,
and its next attempt gets another actor.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from thickets.storage.errors import RunError, ThicketsError
from thickets.storage.shards.folder import open_shard_folder
from thickets.tasks.allocator import environment_that_keeps_memory
from thickets.tasks.scoring.executors.job import ScoringJob
from thickets.tasks.scoring.executors.log_lines import LineSender, LogLine
from thickets.tasks.scoring.executors.pool import EnginePool, PooledEngine, RemoteEngineError
from thickets.tasks.scoring.executors.ray_cluster import RayCluster
from thickets.tasks.scoring.executors.ray_environment import ray_environment
from thickets.tasks.scoring.executors.ray_machines import gpu_holders
from thickets.tasks.scoring.units import Shard, ShardReport, UnitReport
from thickets.tasks.scoring.worker import SHARDS_PER_ENGINE, ScoringWorker

log = logging.getLogger("thickets.ray")

_WATCH_EVERY_S = 0.3
_LOOK_EVERY_S = 5.0
# NFS may show a new file to this machine later than to the one that wrote it.
_VISIBLE_WITHIN_S = 20.0


class JustRestartedError(Exception):
    """An actor has died and was restarted between two calls, and lacks its job."""


class ScoringActor:
    """Runs in a process of the cluster: one worker, made at its first shard so that a restart costs little."""

    def __init__(self) -> None:
        self._job: ScoringJob | None = None
        self._host = socket.gethostname()
        self._name = f"{self._host}:{os.getpid()}"
        self._worker: ScoringWorker | None = None
        self._lock = threading.Lock()
        self._lines: SimpleQueue[LogLine] = SimpleQueue()
        LineSender(self._lines.put)

    def begin(self, job: ScoringJob) -> str:
        """Take the job and return this actor's name: host and process."""
        self._job = job
        return self._name

    def score(self, shard: Shard) -> tuple[ShardReport, list[LogLine]]:
        """See `thickets.tasks.scoring.worker.ScoringWorker.score`; called by several threads at once.

        Returns:
            The report, and what was logged since the last one.
        """
        with self._lock:
            if self._job is None:
                raise JustRestartedError(f"{self._name} is new and has no job yet")
            if self._worker is None:
                self._worker = self._job.open_worker(self._host, self._name)
        report = self._worker.score(shard)
        lines = []
        with contextlib.suppress(Empty):
            while True:
                lines.append(self._lines.get_nowait())
        return report, lines


@dataclass(slots=True)
class _Actor(PooledEngine):
    """An engine in a Ray actor, with the pending answer of `begin`, if there is one."""

    actor: Any = None
    begun: Any = None


class RayExecutor:
    """The executor of a cluster.

    A shard is never twice in the results, whatever happens to its first attempt: its file's name is a function of its
    content and the content one of its name, so an actor that was given up and finishes all the same writes the file
    that is there already.
    """

    def __init__(
        self,
        cluster: RayCluster,
        job: ScoringJob,
        *,
        cpus: int,
        replicas: int | None = None,
        per_gpu: int = 1,
        unit_timeout_s: float = math.inf,
        on_unit: Callable[[UnitReport], None] = lambda report: None,
        patience_s: float = 300.0,
    ) -> None:
        """Ask Ray for the actors; they are used from the moment they answer.

        Args:
            cluster: Where they run.
            job: What they do.
            cpus: CPU cores per engine, for engines on the CPU.
            replicas: Engines; None: as many as there is room for.
            per_gpu: Engines that share one GPU, for engines on one each.
            unit_timeout_s: How long an engine may be at one unit; one that has not finished a shard within as long for
                each of the shard's units is replaced.
            on_unit: Called with the units of every finished shard, from any thread.
            patience_s: How long to wait while no actor is ready before giving up.

        Raises:
            InputError: The cluster has no room for an engine.
        """
        import ray

        self._ray = ray
        self._folder = open_shard_folder(job.shards)
        self._on_unit = on_unit
        self._patience_s = patience_s
        self._unit_timeout_s = unit_timeout_s
        on_gpu = self._on_gpu = job.engine.device.startswith("cuda")
        gpus = (job.engine.vllm.tensor_parallel if job.engine.kind == "vllm" else 1) if on_gpu else 0
        room = cluster.room(gpus=gpus, cpus=cpus) * (per_gpu if on_gpu else 1)
        self.n_engines = replicas or room
        self.slots = self.n_engines * SHARDS_PER_ENGINE
        # Ray counts GPUs in ten-thousandths.
        taken = gpus if per_gpu == 1 else math.floor(gpus / per_gpu * 10_000) / 10_000
        what = f"{taken:g} GPU" if on_gpu else f"{cpus} CPU"
        log.info(
            f"Ray cluster {'on this machine' if cluster.is_local else f'at {cluster.address}'}: "
            f"{len(cluster.cpus)} nodes, {self.n_engines} engines of {what} each"
            + (f" (there is room for {room} at present)" if self.n_engines > room else "")
        )
        # Ray gives an actor without cores one thread, on which loading a model takes its time.
        threads = job.engine.threads or (max(1, cluster.cores_per_gpu // per_gpu) if on_gpu else cpus)
        actor = ray.remote(ScoringActor).options(
            num_cpus=0 if on_gpu else cpus,
            num_gpus=taken,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=SHARDS_PER_ENGINE + 1,  # one for `begin`
            scheduling_strategy="SPREAD",
            runtime_env={
                "env_vars": environment_that_keeps_memory()
                | ray_environment(threads=threads, is_local=cluster.is_local)
            },
        )
        self._job = ray.put(job)  # sent once to every actor, and again to one that was restarted
        self._pool = EnginePool(
            [_Actor(actor=actor.remote()) for _ in range(self.n_engines)], patience_s, self._no_engine_message
        )
        self._is_closed = threading.Event()
        # In this context, so that Prefect knows whose log lines they are.
        self._watcher = threading.Thread(target=copy_context().run, args=(self._watch,), name="ray-watch", daemon=True)
        self._watcher.start()

    def score(self, shard: Shard) -> ShardReport:
        """See `Executor.score`."""
        with self._pool.borrow() as engine:
            report = self._report(engine, shard)
        self._check_visible(report)
        for unit in report.units:
            self._on_unit(unit)
        return report

    def _report(self, engine: _Actor, shard: Shard) -> ShardReport:
        answer = engine.actor.score.remote(shard)
        try:
            while not self._ray.wait([answer], timeout=_LOOK_EVERY_S)[0]:
                if (why := self._pool.overdue(engine, self._unit_timeout_s * len(shard.candidates))) is not None:
                    self._ray.kill(engine.actor, no_restart=False)
                    raise self._pool.lost(engine, why)
            report: ShardReport
            report, lines = self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ThicketsError):
                raise error.cause from None
            if isinstance(error.cause, JustRestartedError):
                raise self._lost(engine, error.cause) from error
            self._pool.sign_of_life(engine, has_built=False)  # its worker builds another engine
            detail = " ".join(str(error.cause).split())
            raise RemoteEngineError(f"engine {engine.name}: {type(error.cause).__name__}: {detail}") from error
        except self._ray.exceptions.RayError as error:
            raise self._lost(engine, error) from error
        self._pool.sign_of_life(engine)
        for line in lines:
            line.log()
        return report

    def cancel(self) -> None:
        """See `Executor.cancel`; the actors end at once, and with them their units."""
        self._pool.cancel()
        self._kill()

    def close(self) -> None:
        """See `Executor.close`; the connection to the cluster is the caller's."""
        self._is_closed.set()
        self._watcher.join()
        self._kill()

    def _lost(self, engine: _Actor, error: Exception) -> Exception:
        return self._pool.lost(engine, f"{type(error).__name__}: {str(error).splitlines()[0]}")

    def _watch(self) -> None:
        """Mark actors as ready when they answer `begin`, at first and after each loss; runs until `close`."""
        while not self._is_closed.wait(_WATCH_EVERY_S):
            if self._pool.is_cancelled:
                return
            for engine in self._pool:
                if not engine.is_ready:
                    self._begin(engine)

    def _begin(self, engine: _Actor) -> None:
        try:
            if engine.begun is None:
                engine.begun = engine.actor.begin.remote(self._job)
            if not self._ray.wait([engine.begun], timeout=0)[0]:
                return
            begun, engine.begun = engine.begun, None
            name = self._ray.get(begun)
        except self._ray.exceptions.RayError:
            return  # still being restarted, or waiting for a node to be restarted on
        self._pool.ready(engine, name, has_built=False)

    def _check_visible(self, report: ShardReport) -> None:
        deadline = time.monotonic() + _VISIBLE_WITHIN_S
        while not self._folder.holds(report.shard_id):
            if time.monotonic() > deadline:
                raise RunError(
                    f"storage.shards: engine {report.worker} has written shard {report.shard_id} to "
                    f"{self._folder.location}, but it is not there on {socket.gethostname()}; name a folder that every "
                    "machine sees under the same path, or a URL such as s3://bucket/prefix"
                )
            time.sleep(0.5)

    def _no_engine_message(self) -> str:
        nodes = self._ray.nodes()
        n_alive = sum(1 for node in nodes if node["Alive"])
        held = f"{gpu_holders()}; " if self._on_gpu else ""
        return (
            f"none of {self.n_engines} engines on the Ray cluster has answered for {self._patience_s:.0f} s; "
            f"{n_alive} of {len(nodes)} nodes are left, {held}see `ray status`; what is scored is kept: "
            "run the same config again to go on"
        )

    def _kill(self) -> None:
        for engine in self._pool:
            self._ray.kill(engine.actor, no_restart=True)
