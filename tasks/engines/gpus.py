"""What the NVIDIA driver and PyTorch each say of this machine's GPUs, and what it means where they differ."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Least major version of the Linux driver that runs programs of a major version of CUDA (NVIDIA's compatibility table).
_DRIVER_OF_CUDA = {11: 450, 12: 525, 13: 580}
_ANSWER_WITHIN_S = 10.0
_HIDDEN = ("", "-1", "none", "void", "NoDevFiles")  # of CUDA_VISIBLE_DEVICES


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """The GPUs of a machine, as far as a process sees them.

    Attributes:
        driver: Version of the NVIDIA driver, e.g. ``570.86.15``; None where there is none.
        cards: What the driver shows, by the maker's names.
        n_usable: How many of them PyTorch can use.
        torch: Version of PyTorch.
        cuda: Version of CUDA that PyTorch was built for; None for a build without.
        visible: ``CUDA_VISIBLE_DEVICES``, if it is set.
        reason: What PyTorch says when it is asked for a GPU that it cannot use; empty if it says nothing.
    """

    driver: str | None
    cards: tuple[str, ...]
    n_usable: int
    torch: str
    cuda: str | None
    visible: str | None = None
    reason: str = ""


def gpu_facts() -> GpuFacts:
    """Look at this machine."""
    import torch  # seconds

    driver, cards = _of_nvml() or _of_proc() or _of_smi() or (None, ())
    n_usable, reason = torch.cuda.device_count() if torch.cuda.is_available() else 0, ""
    if cards and not n_usable and torch.version.cuda is not None:
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).strip().split("\n")[0]
    return GpuFacts(
        driver=driver,
        cards=cards,
        n_usable=n_usable,
        torch=torch.__version__,
        cuda=torch.version.cuda,
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        reason=reason,
    )


def unused_gpus(facts: GpuFacts) -> str | None:
    """Return one line about GPUs that the driver shows and PyTorch cannot use, with the remedy; None if all is well.

    GPUs that ``CUDA_VISIBLE_DEVICES`` hides are hidden on purpose.
    """
    if not facts.cards or facts.n_usable or (facts.visible is not None and facts.visible.strip() in _HIDDEN):
        return None
    shown = f"{len(facts.cards)} x {facts.cards[0]}" if len(facts.cards) > 1 else facts.cards[0]
    driver = f"driver {facts.driver}" if facts.driver else "a driver of unknown version"
    return f"the GPU is not used: {driver} shows {shown}, but {_remedy(facts)}"


def _remedy(facts: GpuFacts) -> str:
    if facts.cuda is None:
        return (
            f"PyTorch {facts.torch} is a build without CUDA; `make setup-gpu` sets up an environment with it, or "
            "install one with `uv pip install --reinstall torch --torch-backend=auto`"
        )
    least = _DRIVER_OF_CUDA.get(_major(facts.cuda), 0)
    if facts.driver and _major(facts.driver) < least:
        return (
            f"PyTorch {facts.torch} is built for CUDA {facts.cuda}, which needs driver {least} or newer; update the "
            "driver, or install a build for an older CUDA with `uv pip install --reinstall torch --torch-backend=auto`"
        )
    said = f" ({facts.reason})" if facts.reason else ""
    return (
        f"PyTorch {facts.torch} for CUDA {facts.cuda} cannot use it{said}; see that `nvidia-smi` works here, that a "
        "container was started with --gpus all, and that CUDA_VISIBLE_DEVICES names a GPU that exists"
    )


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0


def _of_nvml() -> tuple[str, tuple[str, ...]] | None:
    """Ask the driver's own library, through the package nvidia-ml-py where it is installed."""
    try:
        importlib.metadata.version("nvidia-ml-py")  # other packages install a module of the same name
        pynvml = importlib.import_module("pynvml")
    except (importlib.metadata.PackageNotFoundError, ImportError):
        return None
    try:
        pynvml.nvmlInit()
        try:
            handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
            names = tuple(_text(pynvml.nvmlDeviceGetName(handle)) for handle in handles)
            return _text(pynvml.nvmlSystemGetDriverVersion()), names
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _of_proc(root: Path = Path("/")) -> tuple[str | None, tuple[str, ...]] | None:
    """Read what the kernel module shows of itself, and the device files that it makes for each card."""
    folder = root / "proc" / "driver" / "nvidia"
    version = re.search(r"\s(\d+(?:\.\d+)+)\s", _read(folder / "version"))
    models = [re.search(r"^Model:\s*(.+)$", _read(path), re.M) for path in sorted(folder.glob("gpus/*/information"))]
    cards = [found[1].strip() for found in models if found]
    n_files = sum(path.name.removeprefix("nvidia").isdecimal() for path in (root / "dev").glob("nvidia[0-9]*"))
    cards += ["NVIDIA GPU"] * (n_files - len(cards))
    return (version[1] if version else None, tuple(cards)) if version or cards else None


def _of_smi() -> tuple[str, tuple[str, ...]] | None:
    """Ask `nvidia-smi`: on WSL the kernel module is Windows' own."""
    command = ["nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_WITHIN_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.split(", ", 1) for line in told.splitlines() if ", " in line]
    return (rows[0][0], tuple(row[1] for row in rows)) if rows else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
