"""What it costs to make one candidate's weights: our kernel against the usual ways, and against a plain copy.

    python -m benchmarks.noise [--layers 30] [--repeats 7] [--json FILE]

Every way starts from the same bfloat16 base in memory and leaves perturbed bfloat16 weights in a second buffer, tensor
by tensor, in the 272 shapes of SmolLM2-135M (134.5 M weights). The ways take turns within a repeat, so that other load
on the machine affects all of them alike. Reading and writing the weights once ("copy") bounds them all.

Where there is a CUDA device the Triton kernel is measured there too, in CUDA events, against a copy within the device,
and a slice of its result is compared with the reference bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch

from thickets.tasks.noise import NOISE_VERSION
from thickets.tasks.noise.kernel import perturb_into
from thickets.tasks.noise.reference import perturbed

SIGMA = 1e-3
SEED = 1
FLAT = "flat"  # the name of all weights as one tensor
CHECKED_LEN = 1 << 20


def smollm2_sizes(n_layers: int) -> dict[str, int]:
    """Return the elements of each parameter of SmolLM2-135M (30 layers) by Hugging Face name; the head is tied."""
    hidden, intermediate, kv, vocabulary = 576, 1536, 192, 49152
    layer = {
        "self_attn.q_proj": hidden * hidden,
        "self_attn.k_proj": kv * hidden,
        "self_attn.v_proj": kv * hidden,
        "self_attn.o_proj": hidden * hidden,
        "mlp.gate_proj": intermediate * hidden,
        "mlp.up_proj": intermediate * hidden,
        "mlp.down_proj": hidden * intermediate,
        "input_layernorm": hidden,
        "post_attention_layernorm": hidden,
    }
    sizes = {"model.embed_tokens.weight": vocabulary * hidden, "model.norm.weight": hidden}
    return sizes | {f"model.layers.{i}.{part}.weight": size for i in range(n_layers) for part, size in layer.items()}


def ways(sizes: dict[str, int]) -> dict[str, Callable[[], None]]:
    """Return the ways to compare, each a function that perturbs a whole model."""
    rng = np.random.default_rng(0)
    base, out = {}, {}
    for name, n in sizes.items():
        weights = rng.standard_normal(n, dtype=np.float32) * np.float32(0.05)
        base[name] = (weights.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
        out[name] = np.zeros(n, np.uint16)
    torch_base = {name: torch.from_numpy(bits).view(torch.bfloat16) for name, bits in base.items()}
    torch_out = {name: torch.from_numpy(bits).view(torch.bfloat16) for name, bits in out.items()}
    n_all = sum(sizes.values())
    flat_base, flat_out = np.concatenate(list(base.values())), np.zeros(n_all, np.uint16)

    def kernel() -> None:
        for name, bits in base.items():
            perturb_into(out[name], bits, dtype="bfloat16", seed=SEED, sigma=SIGMA, name=name)

    def kernel_signs() -> None:
        for name, bits in base.items():
            perturb_into(out[name], bits, dtype="bfloat16", seed=SEED, sigma=SIGMA, name=name, family="rademacher")

    def kernel_flat() -> None:
        perturb_into(flat_out, flat_base, dtype="bfloat16", seed=SEED, sigma=SIGMA, name=FLAT)

    def numpy_philox() -> None:
        generator = np.random.Generator(np.random.Philox(SEED))
        for name, bits in base.items():
            weights = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
            weights += np.float32(SIGMA) * generator.standard_normal(len(bits), dtype=np.float32)
            word = weights.view(np.uint32)
            word += np.uint32(0x7FFF) + ((word >> np.uint32(16)) & np.uint32(1))
            out[name][:] = word >> np.uint32(16)

    def torch_randn() -> None:
        generator = torch.Generator().manual_seed(SEED)
        for name, weights in torch_base.items():
            z = torch.randn(weights.shape, generator=generator)
            torch_out[name].copy_(weights.float().add_(z, alpha=SIGMA))

    def copy() -> None:
        for name, bits in base.items():
            np.copyto(out[name], bits)

    return {
        f"kernel, {len(sizes)} tensors": kernel,
        "kernel, one tensor": kernel_flat,
        f"kernel, {len(sizes)} tensors, rademacher": kernel_signs,
        "NumPy Philox normal + add + cast": numpy_philox,
        "torch.randn + add + cast": torch_randn,
        "copy (bound)": copy,
    }


def measure(functions: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Time each function in wall seconds, ``repeats`` times after a warm-up (which compiles and touches all memory)."""
    wall_s: dict[str, list[float]] = {label: [] for label in functions}
    for repeat in range(repeats + 1):
        for label, function in functions.items():
            began = time.perf_counter()
            function()
            if repeat:
                wall_s[label].append(time.perf_counter() - began)
    return wall_s


def cuda_ways(sizes: dict[str, int]) -> tuple[dict[str, Callable[[], None]], torch.Tensor, torch.Tensor]:
    """Return the ways to compare on the device, each perturbing a whole model; and the one tensor's base and result."""
    from thickets.tasks.noise.triton_kernel import perturb_cuda

    flat_base = (torch.randn(sum(sizes.values()), device="cuda") * 0.05).bfloat16()
    flat_out = torch.zeros_like(flat_base)
    tensors = {
        name: (out, base)
        for name, out, base in zip(
            sizes, flat_out.split(list(sizes.values())), flat_base.split(list(sizes.values())), strict=True
        )
    }

    def kernel() -> None:
        for name, (out, base) in tensors.items():
            perturb_cuda(out, base, seed=SEED, sigma=SIGMA, name=name)

    def kernel_signs() -> None:
        for name, (out, base) in tensors.items():
            perturb_cuda(out, base, seed=SEED, sigma=SIGMA, name=name, family="rademacher")

    def kernel_flat_signs() -> None:
        perturb_cuda(flat_out, flat_base, seed=SEED, sigma=SIGMA, name=FLAT, family="rademacher")

    def kernel_flat() -> None:
        perturb_cuda(flat_out, flat_base, seed=SEED, sigma=SIGMA, name=FLAT)

    def copy() -> None:
        for out, base in tensors.values():
            out.copy_(base)

    def copy_flat() -> None:
        flat_out.copy_(flat_base)

    functions = {
        f"Triton, {len(sizes)} tensors": kernel,
        f"Triton, {len(sizes)} tensors, rademacher": kernel_signs,
        "Triton, one tensor": kernel_flat,
        "Triton, one tensor, rademacher": kernel_flat_signs,
        f"device copy, {len(sizes)} tensors": copy,
        "device copy, one tensor (bound)": copy_flat,
    }
    return functions, flat_base, flat_out


def measure_cuda(functions: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Time each function in seconds between two events on the device, after one warm-up (which compiles)."""
    wall_s: dict[str, list[float]] = {label: [] for label in functions}
    for repeat in range(repeats + 1):
        for label, function in functions.items():
            began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            began.record()
            function()
            ended.record()
            torch.cuda.synchronize()
            if repeat:
                wall_s[label].append(began.elapsed_time(ended) / 1e3)
    return wall_s


def same_bits(base: torch.Tensor, out: torch.Tensor) -> bool:
    """Tell whether a slice from the middle of the one-tensor kernel's result is the reference's, bit for bit."""
    from thickets.tasks.noise.triton_kernel import perturb_cuda

    start = len(base) // 3
    piece = slice(start, start + CHECKED_LEN)
    perturb_cuda(out, base, seed=SEED, sigma=SIGMA, name=FLAT)
    made, pristine = (weights[piece].view(torch.int16).cpu().numpy().view(np.uint16) for weights in (out, base))
    expected = perturbed(pristine, dtype="bfloat16", seed=SEED, sigma=SIGMA, name=FLAT, start=start)
    return np.array_equal(made, expected)


def report_cuda(sizes: dict[str, int], repeats: int) -> dict[str, object]:
    """Measure on the CUDA device, print a table, and return its facts for the JSON file."""
    functions, base, out = cuda_ways(sizes)
    wall_s = measure_cuda(functions, repeats)
    moved_bytes = 2 * base.numel() * base.element_size()  # each weight read once and written once
    bound_s = statistics.median(wall_s["device copy, one tensor (bound)"])
    device = torch.cuda.get_device_name()
    print(f"\n{device}\n{'seconds':42}{'median':>10}{'min':>10}{'max':>10}{'GB/s':>8}{'of copy':>9}")
    for label, times in wall_s.items():
        median = statistics.median(times)
        share = bound_s / median
        rate = moved_bytes / median / 1e9
        print(f"{label:42}{median:10.6f}{min(times):10.6f}{max(times):10.6f}{rate:8.0f}{share:9.0%}")
    same = same_bits(base, out)
    print(f"{CHECKED_LEN} weights compared with the reference: {'the same bits' if same else 'THEY DIFFER'}")
    return {"device": device, "moved_bytes": moved_bytes, "wall_s": wall_s, "same_bits_as_reference": same}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--layers", type=int, default=30, help="decoder layers; 30 is the whole model")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    sizes = smollm2_sizes(options.layers)
    n_weights = sum(sizes.values())
    wall_s = measure(ways(sizes), options.repeats)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    threads = numba.config.NUMBA_NUM_THREADS
    print(f"{n_weights / 1e6:.1f} M bfloat16 weights, {threads} threads, {options.repeats} repeats, load {load:.1f}\n")
    print(f"{'seconds':42}{'median':>9}{'min':>9}{'max':>9}{'ns/weight':>11}")
    for label, times in wall_s.items():
        median = statistics.median(times)
        print(f"{label:42}{median:9.3f}{min(times):9.3f}{max(times):9.3f}{median / n_weights * 1e9:11.2f}")
    cuda = report_cuda(sizes, options.repeats) if torch.cuda.is_available() else None
    if options.json:
        facts: dict[str, object] = {
            "noise_version": NOISE_VERSION,
            "n_weights": n_weights,
            "n_threads": threads,
            "load_average": load,
            "machine": platform.machine(),
            "versions": {"numpy": np.__version__, "numba": numba.__version__, "torch": torch.__version__},
            "wall_s": wall_s,
        }
        if cuda is not None:
            facts["cuda"] = cuda
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
