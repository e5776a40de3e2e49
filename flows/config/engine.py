"""The engine's section of a run's configuration."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from thickets.flows.config.section import PositiveInt, Section
from thickets.tasks.engines.base import DtypeName


class VllmConfig(Section):
    """Settings that only the vLLM engine has."""

    eager: bool | None = Field(
        None,
        description="Run without compilation and CUDA graphs; empty: only on the CPU, where compiling takes minutes.",
    )
    prefix_caching: bool = Field(True, description="Compute what a candidate's prompts begin with once.")
    block_size: PositiveInt | None = Field(
        None, description="Tokens per block of keys and values; empty: 32 on the CPU (a multiple of 32 there)."
    )
    memory_fraction: float = Field(
        0.9, gt=0, le=1, description="Share of a GPU's memory that an engine may take in all; for transformers too."
    )
    tensor_parallel: PositiveInt = Field(1, description="GPUs that one model is divided over.")


class EngineConfig(Section):
    """The engine that runs the model, and where it runs."""

    kind: Literal["auto", "transformers", "vllm", "signals"] = Field(
        "auto",
        description="Which engine; auto takes vLLM where it is installed and serves the device, and signals for a "
        "signals model.",
    )
    device: str = Field(
        "auto",
        description="auto, cpu, cuda (cuda:0, cuda:1, ...), or mps: the GPU of an Apple computer, not tried yet; auto "
        "takes a GPU where PyTorch sees one.",
    )
    dtype: DtypeName = Field(
        "auto",
        description="Type of the weights while running; auto: the checkpoint's where the device computes in it, else "
        "float32.",
    )
    batch_size: PositiveInt | None = Field(
        None,
        description="Most prompts decoded together; empty: on CUDA as many as the largest block has, up to 1024, "
        "elsewhere 64.",
    )
    threads: PositiveInt | None = Field(None, description="CPU threads; empty: the library's choice.")
    prefetch: bool | None = Field(
        None,
        description="On the CPU, make the next candidate's weights while this one generates; costs one more copy of "
        "the weights. Empty: where it pays, which is with transformers and not with vllm.",
    )
    base_copy: Literal["device", "host"] = Field(
        "device",
        description="Where a GPU engine keeps the untouched weights: on the GPU, if they fit beside the model and its "
        "batches, or in host memory.",
    )
    vllm: VllmConfig = Field(default_factory=VllmConfig)
    executor: Literal["local", "ray"] = Field(
        "local", description="Where engines run: on this machine, or on a Ray cluster."
    )
    address: str | None = Field(
        None,
        description="Address of a running Ray cluster, host:port, or auto for the one on this machine; empty: a local "
        "one that ends with the run.",
    )
    cpus: PositiveInt = Field(
        1, description="CPU cores per engine, where there are several or engine.replicas is given, on the CPU."
    )
    replicas: PositiveInt | None = Field(
        None,
        description="Engines, each in a process of its own. Empty: as many as the Ray cluster has room for; on this "
        "machine one per GPU that CUDA shows (or per engine.vllm.tensor_parallel of them); on the CPU one without a "
        "process of its own, or, with vLLM and enough to score, one per engine.cpus cores.",
    )
    per_device: PositiveInt = Field(
        1,
        description="Engines on one GPU, each with its share of the memory: several of a small model wait for each "
        "other less than one waits for itself.",
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that comes with the model. Only for models whose code you have read."
    )

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
            raise ValueError(f"found {device!r}; use auto, cpu, cuda, cuda:0 (or another number), or mps")
        return device

    @model_validator(mode="after")
    def _engines_share_a_gpu(self) -> Self:
        if self.per_device > 1 and self.device in ("cpu", "mps"):
            raise ValueError(
                f"engine.per_device is {self.per_device}, but engine.device is {self.device}; it is for GPUs with "
                "CUDA, so remove it"
            )
        if self.per_device > 1 and self.vllm.tensor_parallel > 1:
            raise ValueError(
                f"engine.per_device is {self.per_device} and engine.vllm.tensor_parallel {self.vllm.tensor_parallel}; "
                "a model that needs several GPUs leaves no room for another, so set one of them to 1"
            )
        return self

    @model_validator(mode="after")
    def _executor_fits(self) -> Self:
        if self.executor == "local":
            # Compared with the defaults, not with the fields that were set: a form sends every field.
            if self.address is not None:
                raise ValueError(
                    f"engine.address is {self.address!r}, but engine.executor is local; set executor: ray or remove "
                    "address"
                )
            on_gpu = self.device.startswith("cuda")
            if on_gpu and self.cpus != type(self).model_fields["cpus"].default:
                raise ValueError(
                    f"engine.cpus is {self.cpus}, but engine.device is {self.device}; cpus is for engines on the CPU, "
                    "so remove it"
                )
        elif self.address is not None and (self.address == "" or "://" in self.address):
            raise ValueError(
                f"engine.address is {self.address!r}; give host:port as `ray start --head` prints it, auto for the "
                "cluster on this machine, or nothing for a local one"
            )
        elif self.device.startswith("cuda:"):
            raise ValueError(
                f"engine.device is {self.device!r}, but Ray gives every engine a GPU of its own; use cuda or auto"
            )
        return self
