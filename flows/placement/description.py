"""Says in one line what a run's engines are and what they run on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from thickets.flows.placement.replicas import crowded, known_replicas, threads_each
from thickets.flows.plan import RunPlan
from thickets.tasks.engines import library_versions
from thickets.tasks.engines.generation_config import left_out


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What a run's engines are.

    Attributes:
        kind: transformers, vllm or signals.
        version: Of the engine's library.
        device: By the maker's name, e.g. ``AMD EPYC``, of a GPU with how many of the machine's are used; of a Ray
            cluster, its kind and address.
        dtype: Type of the weights while running.
        threads: CPU threads of each engine; None where a GPU computes.
        batch_size: Most prompts decoded together.
        n_engines: How many; 1 as well where a Ray cluster decides how many it has room for.
        left_out: What the model's generation_config.json asks for and is ignored, e.g. ``repetition_penalty 1.1``.
        warnings: What slows them down here and what is odd about their prompts, a line each.
    """

    kind: str
    version: str
    device: str
    dtype: str
    threads: int | None
    batch_size: int
    n_engines: int
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        engines = f"{self.n_engines} engine{'s' if self.n_engines > 1 else ''}"
        threads = "" if self.threads is None else f" of {self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"{engines}{threads}: {self.kind} ({self.version}) on {self.device}, weights in {self.dtype}, "
            f"batches of {self.batch_size}{self._greedy}"
        )

    @property
    def _greedy(self) -> str:
        if not self.left_out:
            return ""
        return f"; decoding is greedy and leaves out {', '.join(self.left_out)} of the model's generation_config.json"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of an MLflow run."""
        return {
            "thickets.engine": f"{self.kind} ({self.version})",
            "thickets.device": self.device,
            "thickets.dtype": self.dtype,
            "thickets.threads": "" if self.threads is None else str(self.threads),
            "thickets.batch_size": str(self.batch_size),
            "thickets.engines": str(self.n_engines),
        }


def describe_engine(plan: RunPlan) -> EngineDescription:
    """Describe the engines that will score a plan."""
    import torch  # seconds

    from thickets.tasks.engines.devices import device_name
    from thickets.tasks.engines.dtypes import computes_in

    spec, config = plan.engine, plan.config.engine
    replicas = known_replicas(plan)
    on_cpu, on_cluster = spec.device == "cpu", config.executor == "ray" and config.address is not None
    device = f"{spec.device} of the Ray cluster at {config.address}" if on_cluster else device_name(spec.device)
    if not on_cluster and spec.device.startswith("cuda"):
        n_used = math.ceil((replicas or 1) * spec.vllm.tensor_parallel / config.per_device)
        device = device_label(spec.device, device, n_used, torch.cuda.device_count())
    threads = threads_each(plan) if replicas is not None else spec.threads or torch.get_num_threads()
    dtype = "float32" if spec.dtype == "auto" else spec.dtype  # a signals network's
    emulated = None
    if on_cpu and not computes_in(dtype, torch.device("cpu")):
        emulated = (
            f"engine.dtype: {dtype} is emulated on this processor, which has no instructions for it; auto takes "
            "float32 here (four times as fast where it was measured)"
        )
    return EngineDescription(
        kind=spec.kind,
        version=", ".join(f"{name} {version}" for name, version in library_versions(spec.kind).items()),
        device=device,
        dtype=dtype,
        threads=threads if on_cpu else None,
        batch_size=spec.batch_size,
        n_engines=replicas or 1,
        left_out=tuple(f"{name} {value}" for name, value in left_out(spec.model_path).items()),
        warnings=tuple(filter(None, (*_unused(plan), crowded(plan), emulated, float32_on_gpu(plan), *plan.warnings))),
    )


def float32_on_gpu(plan: RunPlan) -> str | None:
    """Return one line about a GPU that holds weights in float32 because the checkpoint does; None if it does not."""
    from thickets.tasks.engines.dtypes import stored_dtype

    spec, configured = plan.engine, plan.config.engine.dtype
    if not spec.device.startswith("cuda") or configured != "auto" or spec.dtype != "float32":
        return None
    if stored_dtype(spec.model_path) != "float32":  # the GPU does not compute in the checkpoint's type
        return None
    return (
        "engine.dtype: the checkpoint is stored in float32, which auto keeps; a GPU needs twice the memory for it and "
        "several times the time, so set engine.dtype: bfloat16"
    )


def device_label(device: str, name: str, n_used: int, n_visible: int) -> str:
    """Name a GPU, and how many of those that PyTorch sees a run uses: ``cuda (NVIDIA H200, 1 of 8)``."""
    return f"{device} ({name}, {n_used} of {n_visible})"


def _unused(plan: RunPlan) -> Iterator[str | None]:
    """Yield what this machine has and the run does not use although ``auto`` would have it."""
    from thickets.tasks.engines.choice import slower_than_needed

    spec, asked = plan.engine, plan.config.engine
    if asked.executor == "ray":  # other machines than this one
        return
    if asked.device == "auto" and spec.device == "cpu" and spec.kind != "signals":
        from thickets.tasks.engines.gpus import gpu_facts, unused_gpus

        yield unused_gpus(gpu_facts())
    yield slower_than_needed(asked.kind, spec)
