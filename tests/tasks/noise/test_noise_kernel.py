"""The Numba kernel gives the bits of the NumPy oracle: any dtype, family, offset, size, value, thread or process."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import PATIENCE_S, wait_for
from thickets.storage.errors import InputError
from thickets.tasks.noise import compiled, kernel
from thickets.tasks.noise.kernel import Perturber, perturb_into
from thickets.tasks.noise.reference import perturbed
from thickets.tasks.noise.spec import QUIET_NAN_BITS, Part, Row

FIGURES = json.loads(Path(__file__).with_name("vectors.json").read_text())
NAME = "model.layers.0.mlp.down_proj.weight"
DTYPES = ["float32", "bfloat16", "float16"]
FAMILIES = ["gaussian", "rademacher"]


def storage(dtype):
    return np.float32 if dtype == "float32" else np.uint16


def random_bits(n, dtype, seed=0):
    """Weights of every kind: normal, subnormal, infinite, NaN."""
    words = np.random.default_rng(seed).integers(0, 1 << 32, n, dtype=np.uint32)
    return words.view(np.float32) if dtype == "float32" else words.astype(np.uint16)


def bits(array):
    return array.view(np.uint32) if array.dtype == np.float32 else array


def run(base, **options):
    out = np.zeros_like(base)
    perturb_into(out, base, **options)
    return out


def assert_same(base, **options):
    np.testing.assert_array_equal(bits(run(base, **options)), bits(perturbed(base, **options)))


@pytest.mark.parametrize("vector", FIGURES["vectors"], ids=lambda v: f"{v['family']}-{v['seed']}-{v['name']}")
def test_kernel_gives_the_figures_of_the_contract(vector):
    options = {key: vector[key] for key in ("seed", "sigma", "name", "start", "family")}
    base = np.array([int(word, 16) for word in vector["w_bfloat16_bits"]], dtype=np.uint16)
    assert [f"{word:04x}" for word in run(base, dtype="bfloat16", **options)] == vector["perturbed_bfloat16_bits"]
    wide = (base.astype(np.uint32) << 16).view(np.float32)
    assert [f"{w:08x}" for w in bits(run(wide, dtype="float32", **options))] == vector["perturbed_float32_bits"]


ANY_ARGUMENTS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(DTYPES),
        "family": st.sampled_from(FAMILIES),
        "seed": st.integers(0, 2**64 - 1),
        "sigma": st.floats(1e-30, 1e30),
        "name": st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
        "start": st.one_of(st.integers(0, 5000), st.integers(0, 2**61)),
    }
)


@settings(deadline=None)
@given(arguments=ANY_ARGUMENTS, count=st.integers(0, 5000))
def test_kernel_equals_reference_for_any_argument(arguments, count):
    assert_same(random_bits(count, arguments["dtype"], seed=count), **arguments)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernel_equals_reference_when_threads_share_an_odd_sized_tensor(dtype, family, monkeypatch):
    monkeypatch.setattr(kernel.nb.config, "NUMBA_NUM_THREADS", 3)
    n = 11 * compiled.CHUNK_LEN + 13
    base = random_bits(n, dtype)
    for start in (0, 1, compiled.CHUNK_LEN - 1, (8 << 32) - 1001):
        assert_same(base, dtype=dtype, family=family, seed=1 << 40, sigma=2e-3, name=NAME, start=start)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("sigma", [1e-40, 1e-7, 2e-3, 30.0, 3e38])
def test_kernel_equals_reference_on_every_16_bit_weight(dtype, sigma):
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    for seed in range(3):
        assert_same(every, dtype=dtype, seed=seed, sigma=sigma, name=NAME)


@pytest.mark.parametrize("sigma", [1e-45, 1e-38, 1e-3, 3e38])
def test_kernel_equals_reference_on_special_float32_weights(sigma):
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.17549421e-38, 3.4028235e38, -3.4028235e38]
    base = np.tile(np.array(special, dtype=np.float32), 50)
    base = np.concatenate([base, np.array([0x7F800001, 0xFFC12345], dtype=np.uint32).view(np.float32)])
    for family in FAMILIES:
        assert_same(base, dtype="float32", family=family, seed=3, sigma=sigma, name=NAME)


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinity_stays_nan_becomes_one_quiet_nan_and_overflow_is_infinite(dtype):
    inf, largest, snan, negative_nan = {
        "float32": (0x7F800000, 0x7F7FFFFF, 0x7F800001, 0xFFFFFFFF),
        "bfloat16": (0x7F80, 0x7F7F, 0x7F81, 0xFFFF),
        "float16": (0x7C00, 0x7BFF, 0x7C01, 0xFFFF),
    }[dtype]
    word = np.uint32 if dtype == "float32" else np.uint16
    base = np.array([inf, snan, negative_nan] + [largest] * 40, dtype=word).view(storage(dtype))
    out = bits(run(base, dtype=dtype, seed=0, sigma=1e37 if dtype != "float16" else 1e3, name=NAME)).tolist()
    assert out[:3] == [inf, QUIET_NAN_BITS[dtype], QUIET_NAN_BITS[dtype]]
    assert inf in out[3:]
    assert not {QUIET_NAN_BITS[dtype]} & set(out[3:])


def test_a_tensor_may_be_made_in_slices():
    base = random_bits(200_001, "bfloat16")
    options = {"dtype": "bfloat16", "seed": 4, "sigma": 1e-3, "name": NAME}
    out = np.zeros_like(base)
    for lo, hi in ((0, 1), (1, 70_000), (70_000, 70_007), (70_007, 200_001)):
        perturb_into(out[lo:hi], base[lo:hi], start=lo, **options)
    np.testing.assert_array_equal(out, run(base, **options))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("n_rows", "stride", "first", "length"), [(70, 1024, 256, 512), (33, 333, 5, 77), (3, 9, 8, 1)]
)
def test_columns_of_a_matrix_are_those_of_the_whole(family, n_rows, stride, first, length, monkeypatch):
    monkeypatch.setattr(kernel.nb.config, "NUMBA_NUM_THREADS", 3)
    monkeypatch.setattr(kernel, "_SERIAL_LEN", 100)
    whole = random_bits(n_rows * stride, "bfloat16")
    options = {"dtype": "bfloat16", "family": family, "seed": 4, "sigma": 1e-3, "name": NAME}
    columns = slice(first, first + length)
    base = whole.reshape(n_rows, stride)[:, columns].copy().reshape(-1)
    out = np.zeros_like(base)
    perturb_into(out, base, start=first, row=Row(length, stride), **options)
    expected = perturbed(whole, **options).reshape(n_rows, stride)[:, columns].reshape(-1)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_parts_of_several_tensors_are_written_in_one_call_and_what_lies_between_stays_the_bases(
    dtype, family, monkeypatch
):
    monkeypatch.setattr(kernel.nb.config, "NUMBA_NUM_THREADS", 3)
    monkeypatch.setattr(kernel, "_SERIAL_LEN", 100)
    base = random_bits(300_000, dtype)  # nine chunks of work
    parts = [
        Part(5, 40_000, "q", start=77),
        Part(40_005, 70_000, "k", start=3, row=Row(700, 900)),
        Part(150_000, 0, "nothing"),
        Part(150_001, 149_000, "v"),
    ]
    out, expected = np.zeros_like(base), base.copy()
    writer = Perturber(out, base, dtype=dtype, parts=parts, family=family)
    for seed in (1, 2**64 - 1):
        for part in parts:
            place = slice(part.at, part.at + part.size)
            options = {"start": part.start, "row": part.row, "family": family, "name": part.name}
            expected[place] = run(base[place], dtype=dtype, seed=seed, sigma=1e-2, **options)
        writer.write(seed, 1e-2)
        np.testing.assert_array_equal(bits(out), bits(expected))


@pytest.mark.parametrize("parts", [[Part(0, 5, "a"), Part(4, 2, "b")], [Part(6, 3, "a")], [Part(-1, 3, "a")]])
def test_parts_that_overlap_or_leave_the_weights_are_refused(parts):
    with pytest.raises(InputError, match="must follow one another"):
        Perturber(np.zeros(8, np.uint16), np.ones(8, np.uint16), dtype="bfloat16", parts=parts, family="gaussian")


@pytest.mark.parametrize("row", [Row(3, 9), Row(4, 3), Row(0, 4), Row(-4, 4)])
def test_rows_that_are_empty_overlap_or_are_not_whole_are_refused(row):
    with pytest.raises(InputError, match="must not be empty or overlap"):
        perturb_into(
            np.zeros(8, np.uint16), np.ones(8, np.uint16), dtype="bfloat16", seed=1, sigma=1e-3, name=NAME, row=row
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_may_be_base_itself(dtype):
    base = random_bits(100_003, dtype)
    options = {"dtype": dtype, "seed": 4, "sigma": 1e-3, "name": NAME}
    expected = run(base, **options)
    perturb_into(base, base, **options)
    np.testing.assert_array_equal(bits(base), bits(expected))


def test_base_is_left_as_it_was_and_may_be_read_only():
    base = random_bits(100_003, "bfloat16")
    before = base.copy()
    base.flags.writeable = False
    run(base, dtype="bfloat16", seed=4, sigma=1e-3, name=NAME)
    np.testing.assert_array_equal(base, before)


def test_nothing_is_written_around_out():
    memory = np.full(70_200, 0xABCD, dtype=np.uint16)
    perturb_into(memory[100:-97], random_bits(70_003, "bfloat16"), dtype="bfloat16", seed=1, sigma=1.0, name=NAME)
    assert set(memory[:100]) == set(memory[-97:]) == {0xABCD}


def test_several_python_threads_may_perturb_at_once():
    base = random_bits(300_001, "bfloat16")
    options = {"dtype": "bfloat16", "sigma": 1e-3, "name": NAME}
    expected = [perturbed(base, seed=seed, **options) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for want, got in zip(expected, pool.map(lambda seed: run(base, seed=seed, **options), range(8)), strict=True):
            np.testing.assert_array_equal(got, want)


def test_a_helper_that_has_started_is_waited_for_and_one_that_has_not_is_not(monkeypatch):
    started, finished = threading.Event(), []

    def chunks(counter, *arguments):
        if threading.current_thread() is threading.main_thread():
            assert started.wait(PATIENCE_S)
            return
        started.set()
        time.sleep(0.1)
        finished.append(True)

    monkeypatch.setattr(kernel.nb.config, "NUMBA_NUM_THREADS", 4)
    pool = ThreadPoolExecutor(1)
    monkeypatch.setattr(kernel, "_pool", lambda: pool)
    monkeypatch.setattr(kernel, "perturb_chunks", chunks)
    run(np.zeros(10 * compiled.CHUNK_LEN, np.uint16), dtype="bfloat16", seed=1, sigma=1e-3, name=NAME)
    pool.shutdown()
    assert finished == [True], "three helpers for one pool thread: one runs, two are cancelled"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_perturbs_too(monkeypatch):
    monkeypatch.setattr(kernel.nb.config, "NUMBA_NUM_THREADS", 2)
    base = random_bits(300_001, "bfloat16")
    options = {"dtype": "bfloat16", "seed": 1, "sigma": 1e-3, "name": NAME}
    expected = run(base, **options)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(run(base, **options), expected) else 1)
    ended: list[int] = []
    try:
        ended = wait_for(lambda: [status for pid, status in [os.waitpid(child, os.WNOHANG)] if pid])
    finally:
        if not ended:  # it hangs
            os.kill(child, 9)
            os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended[0]) == 0


def test_the_kernel_compiles_without_a_cache_where_no_folder_can_be_written(monkeypatch):
    njit = compiled.nb.njit

    def no_locator(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(compiled.nb, "njit", no_locator)
    assert compiled._jit(lambda x: x + 1)(1) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float64"}, "dtype is 'float64'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1 << 64}, "seed is"),
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"sigma": -1e-3}, "sigma is -0.001"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"sigma": float("inf")}, "sigma is inf"),
        ({"sigma": 1e39}, "as a float32"),
        ({"sigma": 1e-50}, "as a float32"),
        ({"sigma": "x"}, "must be a number"),
        ({"name": ""}, "name is ''"),
        ({"start": -1}, "start is -1"),
        ({"family": "uniform"}, "family is 'uniform'"),
        ({"base": np.zeros(9, np.uint16)}, "same length"),
        ({"base": np.zeros(8, np.float16)}, "base holds float16"),
        ({"base": [0] * 8}, "base is a list"),
        ({"base": np.zeros(16, np.uint16)[::2]}, "contiguous"),
        ({"base": np.zeros((2, 4), np.uint16)}, "flat"),
        ({"base": np.zeros(17, np.uint8)[1:].view(np.uint16)}, "aligned"),
        ({"out": np.zeros(8, np.float32)}, "out holds float32"),
        ({"out": np.frombuffer(bytes(16), np.uint16)}, "read-only"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(change, message):
    arguments = {"out": np.zeros(8, np.uint16), "base": np.ones(8, np.uint16), "dtype": "bfloat16"}
    arguments |= {"seed": 1, "sigma": 1e-3, "name": NAME} | change
    with pytest.raises(InputError, match=message):
        perturb_into(arguments.pop("out"), arguments.pop("base"), **arguments)


def test_partly_overlapping_arrays_are_refused():
    memory = np.zeros(20, np.uint16)
    with pytest.raises(InputError, match="overlaps"):
        perturb_into(memory[:10], memory[1:11], dtype="bfloat16", seed=1, sigma=1e-3, name=NAME)
