"""What must hold for the Triton kernel; `test_triton` runs this file in a process of its own.

On the interpreter where ``TRITON_INTERPRET=1``, else on the first CUDA device. Which of the two is fixed when Triton
is first imported, which is why these tests cannot live in the process of all the others.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thickets.storage.errors import InputError
from thickets.tasks.engines import candidate_weights
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.noise import triton_kernel
from thickets.tasks.noise.reference import perturbed
from thickets.tasks.noise.spec import QUIET_NAN_BITS, Row
from thickets.tasks.noise.triton_kernel import TILE_LEN, perturb_cuda
from thickets.tasks.types import Average, Candidate

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
FIGURES = json.loads(Path(__file__).with_name("vectors.json").read_text())
NAME = "model.layers.0.mlp.down_proj.weight"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FAMILIES = ["gaussian", "rademacher"]
# The file runs without tests/conftest.py, and the interpreter is slow.
THOROUGH = DEVICE == "cuda" or os.environ.get("THICKETS_TEST_EXAMPLES") == "ci"

# The interpreter adds on the host, where NumPy speaks up about infinity minus infinity.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")


def random_words(n, dtype, seed=0):
    """Bit patterns of every kind of weight: normal, subnormal, infinite, NaN."""
    words = np.random.default_rng(seed).integers(0, 1 << 32, n, dtype=np.uint32)
    return words if dtype == "float32" else words.astype(np.uint16)


def to_tensor(words, dtype):
    signed = words.view(np.int32 if words.dtype == np.uint32 else np.int16)
    return torch.from_numpy(signed.copy()).to(DEVICE).view(DTYPES[dtype])


def to_words(tensor):
    wide = tensor.dtype == torch.float32
    return tensor.view(torch.int32 if wide else torch.int16).cpu().numpy().view(np.uint32 if wide else np.uint16)


def run(words, *, dtype, **options):
    base = to_tensor(words, dtype)
    out = torch.zeros_like(base)
    perturb_cuda(out, base, **options)
    np.testing.assert_array_equal(to_words(base), words, "the base must be left as it was")
    return to_words(out)


def reference(words, *, dtype, **options):
    base = words.view(np.float32) if dtype == "float32" else words
    return perturbed(base, dtype=dtype, **options).view(words.dtype)


def assert_same(words, **options):
    np.testing.assert_array_equal(run(words, **options), reference(words, **options))


@pytest.mark.parametrize("vector", FIGURES["vectors"], ids=lambda v: f"{v['family']}-{v['seed']}-{v['name']}")
def test_kernel_gives_the_figures_of_the_contract(vector):
    options = {key: vector[key] for key in ("seed", "sigma", "name", "start", "family")}
    half = np.array([int(word, 16) for word in vector["w_bfloat16_bits"]], dtype=np.uint16)
    assert [f"{word:04x}" for word in run(half, dtype="bfloat16", **options)] == vector["perturbed_bfloat16_bits"]
    single = half.astype(np.uint32) << 16
    assert [f"{word:08x}" for word in run(single, dtype="float32", **options)] == vector["perturbed_float32_bits"]


@pytest.mark.parametrize(
    ("count", "starts"),
    [(count, [0, 1, 7, 8, 9, 131, (1 << 32) + 5, (8 << 32) - 501, (128 << 32) - 501]) for count in (0, 1, 7, 8, 1000)]
    + [(count, [0, TILE_LEN - 1, (8 << 32) - 2501]) for count in (2 * TILE_LEN, 2 * TILE_LEN + 13)],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernel_equals_reference_at_any_length_and_offset(dtype, family, count, starts):
    for start in starts:
        options = {"dtype": dtype, "family": family, "seed": (1 << 63) + 5, "sigma": 2e-3, "name": NAME}
        assert_same(random_words(count, dtype, seed=count), start=start, **options)


ANY_ARGUMENTS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(list(DTYPES)),
        "family": st.sampled_from(FAMILIES),
        "seed": st.integers(0, 2**64 - 1),
        "sigma": st.floats(1e-30, 1e30),
        "name": st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
        "start": st.one_of(st.integers(0, 5000), st.integers(0, 2**61)),
    }
)


@settings(deadline=None, max_examples=100 if THOROUGH else 25)
@given(arguments=ANY_ARGUMENTS, count=st.integers(0, 5000))
def test_kernel_equals_reference_for_any_argument(arguments, count):
    assert_same(random_words(count, arguments["dtype"], seed=count), **arguments)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("sigma", [1e-40, 2e-3, 3e38] if THOROUGH else [2e-3])
def test_kernel_equals_reference_on_every_16_bit_weight(dtype, sigma):
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    assert_same(every, dtype=dtype, seed=1, sigma=sigma, name=NAME)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sigma", [1e-45, 1e-38, 1e-3, 3e38])
def test_kernel_equals_reference_on_special_float32_weights(sigma, family):
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.17549421e-38, 3.4028235e38, -3.4028235e38]
    words = np.tile(np.array(special, dtype=np.float32), 50).view(np.uint32)
    words = np.concatenate([words, np.array([0x7F800001, 0xFFC12345], dtype=np.uint32)])
    assert_same(words, dtype="float32", family=family, seed=3, sigma=sigma, name=NAME)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_ties_are_rounded_to_even(dtype):
    # Sigma is half a unit in the last place of every weight in [1, 2), so that plus or minus sigma is always a tie.
    one, half_unit, n = (0x3F80, 2.0**-8, 1 << 7) if dtype == "bfloat16" else (0x3C00, 2.0**-11, 1 << 10)
    words = (one + np.arange(n)).astype(np.uint16)
    options = {"dtype": dtype, "family": "rademacher", "seed": 5, "sigma": half_unit, "name": NAME}
    made = run(words, **options)
    np.testing.assert_array_equal(made, reference(words, **options))
    assert not (made[1:] & 1).any(), "a tie goes to the even neighbour (below 1 the spacing is finer: no tie)"


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinity_stays_nan_becomes_one_quiet_nan_and_overflow_is_infinite(dtype):
    inf, largest, snan, negative_nan = {
        "float32": (0x7F800000, 0x7F7FFFFF, 0x7F800001, 0xFFFFFFFF),
        "bfloat16": (0x7F80, 0x7F7F, 0x7F81, 0xFFFF),
        "float16": (0x7C00, 0x7BFF, 0x7C01, 0xFFFF),
    }[dtype]
    words = np.array([inf, snan, negative_nan] + [largest] * 40, np.uint32 if dtype == "float32" else np.uint16)
    made = run(words, dtype=dtype, seed=0, sigma=1e37 if dtype != "float16" else 1e3, name=NAME).tolist()
    assert made[:3] == [inf, QUIET_NAN_BITS[dtype], QUIET_NAN_BITS[dtype]]
    assert inf in made[3:]
    assert not {QUIET_NAN_BITS[dtype]} & set(made[3:])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_may_be_base_itself(dtype, family):
    words = random_words(2 * TILE_LEN + 13, dtype)
    options = {"seed": 4, "sigma": 1e-3, "name": NAME, "family": family, "start": 3}
    weights = to_tensor(words, dtype)
    perturb_cuda(weights, weights, **options)
    np.testing.assert_array_equal(to_words(weights), reference(words, dtype=dtype, **options))


def test_a_tensor_may_be_made_in_slices_that_do_not_begin_at_16_bytes():
    words = random_words(10_001, "bfloat16")
    options = {"seed": 4, "sigma": 1e-3, "name": NAME}
    base = to_tensor(words, "bfloat16")
    out = torch.zeros_like(base)
    for lo, hi in ((0, 1), (1, 7000), (7000, 7007), (7007, 10_001)):
        perturb_cuda(out[lo:hi], base[lo:hi], start=lo, **options)
    np.testing.assert_array_equal(to_words(out), reference(words, dtype="bfloat16", **options))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("n_rows", "stride", "first", "length"), [(3, 5120, 128, 2560), (4, 99, 5, 77)])
def test_columns_of_a_matrix_are_those_of_the_whole(family, n_rows, stride, first, length):
    words = random_words(n_rows * stride, "bfloat16")
    options = {"family": family, "seed": 4, "sigma": 1e-3, "name": NAME}
    columns = slice(first, first + length)
    part = words.reshape(n_rows, stride)[:, columns].copy().reshape(-1)
    out = run(part, dtype="bfloat16", start=first, row=Row(length, stride), **options)
    whole = reference(words, dtype="bfloat16", **options).reshape(n_rows, stride)
    np.testing.assert_array_equal(out, whole[:, columns].reshape(-1))


def test_nothing_is_written_around_out():
    memory = to_tensor(np.full(7200, 0xABCD, dtype=np.uint16), "bfloat16")
    base = to_tensor(random_words(7003, "bfloat16"), "bfloat16")
    perturb_cuda(memory[100:-97], base, seed=1, sigma=1.0, name=NAME, start=5)
    left = to_words(memory)
    assert set(left[:100]) == set(left[-97:]) == {0xABCD}


@pytest.mark.skipif(DEVICE == "cpu", reason="the interpreter would take a day")
def test_a_tensor_of_more_than_2_to_the_31_weights_is_made_to_its_end():
    n = (1 << 31) + 5003
    weights = torch.zeros(n, dtype=torch.bfloat16, device=DEVICE)
    perturb_cuda(weights, weights, seed=1, sigma=1e-3, name=NAME)
    for start in (0, (1 << 31) - 5000, n - 5000):
        zeros = np.zeros(5000, np.uint16)
        made = to_words(weights[start : start + 5000])
        np.testing.assert_array_equal(
            made, reference(zeros, dtype="bfloat16", seed=1, sigma=1e-3, name=NAME, start=start)
        )


def test_one_table_is_made_for_each_sigma():
    triton_kernel._magnitudes.cache_clear()
    for seed in range(3):
        run(random_words(9, "bfloat16"), dtype="bfloat16", seed=seed, sigma=1e-3, name=NAME)
    assert triton_kernel._magnitudes.cache_info().misses == 1


WEIGHTS = torch.zeros(8, dtype=torch.bfloat16, device=DEVICE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1 << 64}, "seed is"),
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"name": ""}, "name is ''"),
        ({"start": -1}, "start is -1"),
        ({"family": "uniform"}, "family is 'uniform'"),
        ({"base": WEIGHTS[:7]}, "same length"),
        ({"base": WEIGHTS.double()}, "base holds torch.float64"),
        ({"base": WEIGHTS.half()}, "same dtype"),
        ({"base": [0] * 8}, "base is a list"),
        ({"base": torch.zeros(16, dtype=torch.bfloat16, device=DEVICE)[::2]}, "contiguous"),
        ({"base": WEIGHTS.view(2, 4)}, "flat"),
        ({"base": torch.zeros(8, dtype=torch.bfloat16, device="meta")}, "device"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"out": torch.zeros_like(WEIGHTS), "base": WEIGHTS, "seed": 1, "sigma": 1e-3, "name": NAME} | change
    with pytest.raises(InputError, match=message):
        perturb_cuda(arguments.pop("out"), arguments.pop("base"), **arguments)


def test_a_weight_average_made_with_this_kernel_is_that_of_the_host(monkeypatch):
    average = Average((Candidate(3, 0.02), Candidate(2**64 - 1, 0.1), Candidate(5, 1e-3)))
    base = torch.randn(1500, generator=torch.Generator().manual_seed(0)).bfloat16()
    on_host, here = torch.zeros_like(base), torch.zeros_like(base, device=DEVICE)
    monkeypatch.setattr(candidate_weights, "_device_kernel", lambda: None)
    write_weights(on_host, base, name=NAME, weights=average, family="gaussian")
    used = []

    def kernel(*given, **named):
        used.append(named["seed"])
        perturb_cuda(*given, **named)

    monkeypatch.setattr(candidate_weights, "_device_kernel", lambda: kernel)
    monkeypatch.setattr(candidate_weights, "_on_device", lambda live: True)
    write_weights(here, base.to(DEVICE), name=NAME, weights=average, family="gaussian")
    assert used == [3, 2**64 - 1, 5]
    assert torch.equal(here.cpu().view(torch.int16), on_host.view(torch.int16))


def test_partly_overlapping_tensors_are_refused():
    memory = torch.zeros(20, dtype=torch.bfloat16, device=DEVICE)
    with pytest.raises(InputError, match="overlaps"):
        perturb_cuda(memory[:10], memory[1:11], seed=1, sigma=1e-3, name=NAME)


def test_host_memory_is_refused_where_there_is_no_interpreter(monkeypatch):
    monkeypatch.setattr(triton_kernel.triton.knobs.runtime, "interpret", False)
    host = torch.zeros(8)
    with pytest.raises(InputError, match="out is on cpu"):
        perturb_cuda(host, host, seed=1, sigma=1e-3, name=NAME)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_factor_is_another_sigma(dtype, family):
    words = random_words(3 * TILE_LEN // 2, dtype)
    base = to_tensor(words, dtype)
    live = torch.zeros_like(base)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(candidate_weights, "_on_device", lambda live: True)
        patched.setattr(candidate_weights, "_device_kernel", lambda: perturb_cuda)
        options = {"name": NAME, "family": family, "start": 3, "factor": 0.1}
        write_weights(live, base, weights=Candidate(11, 0.013), **options)
    base_words = words.view(np.float32) if dtype == "float32" else words
    expected = perturbed(base_words, dtype=dtype, seed=11, sigma=0.013 * 0.1, name=NAME, start=3, family=family)
    np.testing.assert_array_equal(to_words(live), expected.view(words.dtype))
