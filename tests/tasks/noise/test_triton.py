"""The Triton kernel gives the bits of the NumPy oracle, in Triton's interpreter and on a GPU, and compiles as meant.

Triton decides at its first import whether it interprets or compiles, so each runs in a process of its own.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
CASES = Path(__file__).with_name("triton_cases.py")

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")


def python(*arguments, interpret):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRITON_", "PYTEST_"))}
    if interpret:
        environment["TRITON_INTERPRET"] = "1"
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def run_cases(*, interpret):
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", CASES, interpret=interpret)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


INTERPRETER_WORKS = """
import torch, triton, triton.language as tl

@triton.jit
def double(x):
    tl.store(x, tl.load(x) * 2)

x = torch.ones(1)
double[(1,)](x)
assert x.item() == 2
"""


def test_kernel_equals_reference_in_the_interpreter(tmp_path):
    probe = tmp_path / "probe.py"
    probe.write_text(INTERPRETER_WORKS)
    if (done := python(probe, interpret=True)).returncode:
        pytest.skip(f"Triton's interpreter does not work here: {done.stderr.strip().splitlines()[-1]}")
    run_cases(interpret=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kernel_equals_reference_on_the_device():
    run_cases(interpret=False)


# Needs no GPU: the target is named, not found. The interpreter accepts code that the compiler refuses.
COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from thickets.tasks.noise.spec import BLOCK_LEN, QUIET_NAN_BITS
from thickets.tasks.noise.triton_kernel import _DTYPES, TILE_LEN, _perturb_tile

for dtype, storage in _DTYPES.values():
    bits = "*i32" if "32" in str(storage) else "*i16"
    for family, block in BLOCK_LEN.items():
        constants = {"FAMILY": family, "BLOCK": block, "DTYPE": dtype, "NAN": QUIET_NAN_BITS[dtype], "TILE": TILE_LEN}
        for constants["ROWS"] in (False, True):
            signature = dict.fromkeys(_perturb_tile.arg_names, "i32")
            signature |= {"out": bits, "base": bits, "magnitudes": "*i32"}
            signature |= dict.fromkeys(constants, "constexpr")
            # The usual tensor: memory from PyTorch's allocator, rows that 16 divides, made from their first element on.
            aligned = [_perturb_tile.arg_names.index(name) for name in ("out", "base", "magnitudes", "n", "skip")]
            hints = {(position,): [["tt.divisibility", 16]] for position in aligned}
            source = ASTSource(_perturb_tile, signature, constants, hints)
            options = {"num_warps": 4, "enable_fp_fusion": False}
            ptx = compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
            for never in ("fma.", ".ftz", ".nc.", "ld.local", "st.local"):
                assert never not in ptx, (constants, never)
            assert "ld.global.cg.v4.b32" in ptx and "st.global.v4.b32" in ptx, constants
"""


def test_kernel_compiles_to_16_byte_accesses_without_fused_or_flushing_arithmetic(tmp_path):
    script = tmp_path / "compile_kernel.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{COMPILE}")
    done = python(script, interpret=False)
    assert done.returncode == 0, done.stderr[-4000:]


def test_importing_the_noise_package_does_not_import_triton():
    done = python(
        "-c",
        "import sys, thickets.tasks.noise, thickets.tasks.noise.kernel; print('triton' in sys.modules)",
        interpret=False,
    )
    assert done.stdout.strip() == "False", done.stderr
