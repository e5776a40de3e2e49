"""What it costs to make one candidate's weights: our kernel against the usual ways, and against a plain copy.

    python -m benchmarks.noise [--layers 30] [--repeats 7] [--json FILE]

Every way starts from the same bfloat16 base in memory and leaves perturbed bfloat16 weights in a second buffer, tensor
by tensor, in the 272 shapes of SmolLM2-135M (134.5 M weights). The ways take turns within a repeat, so that what else
the machine does falls on all of them alike. Reading and writing the weights once ("copy") bounds them all.
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

from tasks.noise import NOISE_VERSION
from tasks.noise.kernel import perturb_into

SIGMA = 1e-3
SEED = 1


def smollm2_sizes(n_layers: int) -> dict[str, int]:
    """Elements of each parameter of SmolLM2-135M (30 layers) under its Hugging Face name; the head is tied."""
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
    """The ways to compare, each a function that perturbs a whole model."""
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
        perturb_into(flat_out, flat_base, dtype="bfloat16", seed=SEED, sigma=SIGMA, name="flat")

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
    """Wall seconds of each function, ``repeats`` times after one warm-up (which compiles and touches all memory)."""
    wall_s: dict[str, list[float]] = {label: [] for label in functions}
    for repeat in range(repeats + 1):
        for label, function in functions.items():
            began = time.perf_counter()
            function()
            if repeat:
                wall_s[label].append(time.perf_counter() - began)
    return wall_s


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
    if options.json:
        facts = {
            "noise_version": NOISE_VERSION,
            "n_weights": n_weights,
            "n_threads": threads,
            "load_average": load,
            "machine": platform.machine(),
            "versions": {"numpy": np.__version__, "numba": numba.__version__, "torch": torch.__version__},
            "wall_s": wall_s,
        }
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
