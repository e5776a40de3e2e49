"""Opens the executor that scores a run's shards: in this process, in processes of their own, or on Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from thickets.flows.config.run import EngineConfig
from thickets.flows.placement.accelerator import accelerator
from thickets.flows.placement.replicas import engine_of_several, local_environments, local_replicas
from thickets.flows.plan import RunPlan
from thickets.flows.runtime.interrupt import ends_when_terminated
from thickets.storage.models.base import BaseModelRef, hub_commit
from thickets.tasks.engines import Engine, EngineSpec, build_engine, resolve_spec
from thickets.tasks.problems.file import written_out
from thickets.tasks.scoring.executors import Executor, LocalExecutor
from thickets.tasks.scoring.executors.job import ScoringJob
from thickets.tasks.scoring.units import UnitReport
from thickets.tasks.scoring.worker import ScoringWorker

if TYPE_CHECKING:
    from thickets.tasks.scoring.executors.ray_cluster import RayCluster


# A false alarm costs a run, a hung engine the time until it is noticed. A model of 135 M parameters makes 230 tokens/s
# on two cores, one of 3 B about 10.
_LEAST_TIMEOUT_S = 1800.0
_CPU_TOKENS_PER_S, _GPU_TOKENS_PER_S = 10.0, 200.0


@contextmanager
def open_cluster(engine: EngineConfig) -> Iterator[RayCluster | None]:
    """Connect to the Ray cluster that the configuration names; gives None without Ray.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    if engine.executor == "local":
        yield None
        return
    from thickets.tasks.scoring.executors.ray_cluster import connect

    cluster = connect(engine.address)
    try:
        yield cluster
    finally:
        cluster.close()


@contextmanager
def open_executor(
    plan: RunPlan,
    on_unit: Callable[[UnitReport], None],
    build: Callable[[EngineSpec], Engine],
    cluster: RayCluster | None = None,
) -> Iterator[Executor]:
    """Open the plan's executor; its engines start with their first shard, and end with the block.

    Args:
        plan: The run.
        on_unit: Called with every finished unit, from any thread.
        build: Builds an engine of this process; a benchmark passes its own, and gets one engine in this process.
        cluster: The Ray cluster that runs the engines instead.
    """
    with accelerator(plan.config.engine, plan.engine):
        executor = _make_executor(plan, on_unit, build, cluster)
        try:
            with ends_when_terminated():  # its timer starts before `close` waits for engines
                yield executor
        finally:
            executor.close()


class Engines:
    """Opens one executor per plan; reuses the engine when the next plan needs the same, or the same with another base.

    Starting an engine takes seconds to minutes. Engines in other processes are not reused.
    """

    def __init__(
        self,
        on_unit: Callable[[UnitReport], None],
        build: Callable[[EngineSpec], Engine],
        cluster: RayCluster | None = None,
    ) -> None:
        """Take what `open_executor` takes, but for the plan."""
        self._build = build
        self._open = partial(open_executor, on_unit=on_unit, build=build, cluster=cluster)
        self._opened = ExitStack()
        self._current: tuple[EngineSpec, Executor] | None = None
        self.resolve = cluster.resolve if cluster else resolve_spec

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._current = None
        self._opened.__exit__(kind, error, trace)

    def turn_to(self, plan: RunPlan) -> Executor:
        """Return the plan's executor and close the previous one."""
        if self._current is not None:
            spec, executor = self._current
            if isinstance(executor, LocalExecutor) and _differ_by_base(spec, plan.engine):
                if spec.model_path != plan.engine.model_path:
                    executor.rebase(partial(self._build, plan.engine), plan.engine.model_path)
                    self._current = plan.engine, executor
                executor.turn_to(plan.judge, plan.blocks, plan.sampling, plan.shard_folder, plan.verdict_folder)
                return executor
            self._opened.close()
        executor = self._opened.enter_context(self._open(plan))
        self._current = plan.engine, executor
        return executor


def _differ_by_base(one: EngineSpec, other: EngineSpec) -> bool:
    """Return whether two specs are equal but for the model."""
    other = replace(other, model_path=one.model_path)
    if one.kind != "vllm":  # only vLLM's engine depends on `max_length`
        one, other = replace(one, max_length=None), replace(other, max_length=None)
    return one == other


def _make_executor(
    plan: RunPlan,
    on_unit: Callable[[UnitReport], None],
    build: Callable[[EngineSpec], Engine],
    cluster: RayCluster | None,
) -> Executor:
    engine, timeout_s = plan.config.engine, unit_timeout_s(plan)
    if cluster is not None:
        from thickets.tasks.scoring.executors.ray_pool import RayExecutor

        return RayExecutor(
            cluster,
            scoring_job(plan),
            cpus=engine.cpus,
            replicas=engine.replicas,
            per_gpu=engine.per_device,
            unit_timeout_s=timeout_s,
            on_unit=on_unit,
        )
    if build is build_engine and (replicas := local_replicas(plan)) is not None:
        from thickets.tasks.scoring.executors.processes import ProcessExecutor

        return ProcessExecutor(
            scoring_job(plan),
            replicas=replicas,
            environments=local_environments(plan),
            unit_timeout_s=timeout_s,
            on_unit=on_unit,
        )
    return LocalExecutor(
        ScoringWorker(
            lambda: build(plan.engine),
            plan.judge,
            plan.blocks,
            plan.sampling,
            plan.shard_folder,
            plan.verdict_folder,
            unit_timeout_s=timeout_s,
            on_unit=on_unit,
        )
    )


def unit_timeout_s(plan: RunPlan) -> float:
    """Return the seconds that one candidate may take on one block, from the configuration or from its most tokens."""
    if (configured := plan.config.scoring.unit_timeout_s) is not None:
        return configured
    n_questions = max((len(block.examples) for block in plan.blocks), default=0)
    slowest = _CPU_TOKENS_PER_S if plan.engine.device == "cpu" else _GPU_TOKENS_PER_S
    return max(_LEAST_TIMEOUT_S, n_questions * plan.sampling.max_tokens / slowest)


def scoring_job(plan: RunPlan) -> ScoringJob:
    """Describe the plan's scoring for engines in other processes and on other machines."""
    return ScoringJob(
        model=_name_anywhere(plan.base),
        revision=hub_commit(plan.base.revision),
        sha256=plan.base.sha256,
        trust_remote_code=plan.config.engine.trust_remote_code,
        engine=engine_of_several(plan),
        problem=written_out(plan.problem, plan.config.single_problem),
        blocks=plan.blocks,
        sampling=plan.sampling,
        shards=plan.shard_location,
        identity=plan.identity,
        reasoning=plan.judge.reasoning,
        judgement=plan.judgement,
    )


def _name_anywhere(base: BaseModelRef) -> str:
    """Return the model's name; a path is made absolute, for processes with another working folder."""
    path = Path(base.name).expanduser()
    return str(path.absolute()) if path.exists() else base.name
