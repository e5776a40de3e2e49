"""The NumPy oracle gives the figures of the contract, and the noise is as random as it claims."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from thickets.storage.errors import InputError, RunError
from thickets.tasks.noise import NOISE_VERSION, noise, spec
from thickets.tasks.noise.reference import from_float32, perturbed, philox4x32, to_float32

FIGURES = json.loads(Path(__file__).with_name("vectors.json").read_text())
Q_PROJ = "model.layers.0.self_attn.q_proj.weight"
K_PROJ = "model.layers.0.self_attn.k_proj.weight"
N_SAMPLES = 1 << 20


def hex_words(values):
    return [f"{word:08x}" for word in np.asarray(values).view(np.uint32)]


def correlation(a, b):
    return float(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1])


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        # Random123's kat_vectors, philox4x32-10.
        ([0, 0, 0, 0], (0, 0), ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            ["d16cfe09", "94fdcceb", "5001e420", "24126ea1"],
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, words):
    assert hex_words(philox4x32(np.array([counter], dtype=np.uint32), key)[0]) == words


def test_table_has_the_hash_and_the_values_of_the_contract():
    table = spec.quantile_table()
    assert hashlib.sha256(table.astype("<f4").tobytes()).hexdigest() == FIGURES["table_sha256"] == spec.TABLE_SHA256
    for index, value in FIGURES["table"].items():
        assert float(table[int(index)]) == value
    assert table.dtype == np.float32
    assert np.array_equal(table, -table[::-1])
    assert (np.diff(table) > 0).all()
    assert not table.flags.writeable


def test_a_platform_with_another_table_is_refused(monkeypatch):
    monkeypatch.setattr(spec, "TABLE_SHA256", "0" * 64)
    with pytest.raises(RunError, match="SHA-256"):
        spec.quantile_table.__wrapped__()


@pytest.mark.parametrize("vector", FIGURES["vectors"], ids=lambda v: f"{v['family']}-{v['seed']}-{v['name']}")
def test_reference_gives_the_figures_of_the_contract(vector):
    where = {key: vector[key] for key in ("seed", "name", "start", "family")}
    z = noise(count=vector["count"], **where)
    assert hex_words(z) == vector["z_float32_bits"]
    base = np.array([int(bits, 16) for bits in vector["w_bfloat16_bits"]], dtype=np.uint16)
    half = perturbed(base, dtype="bfloat16", sigma=vector["sigma"], **where)
    assert [f"{bits:04x}" for bits in half] == vector["perturbed_bfloat16_bits"]
    single = perturbed(to_float32(base, "bfloat16"), dtype="float32", sigma=vector["sigma"], **where)
    assert hex_words(single) == vector["perturbed_float32_bits"]


def test_noise_version_is_the_one_the_figures_were_made_with():
    assert FIGURES["noise_version"] == NOISE_VERSION


@given(
    seed=st.integers(0, 2**64 - 1),
    origin=st.integers(0, 2**40),
    offset=st.integers(0, 700),
    count=st.integers(0, 400),
    family=st.sampled_from(["gaussian", "rademacher"]),
)
def test_any_slice_agrees_with_the_whole(seed, origin, offset, count, family):
    whole = noise(seed, Q_PROJ, origin, 1100, family)
    assert np.array_equal(noise(seed, Q_PROJ, origin + offset, count, family), whole[offset : offset + count])


def test_slices_across_the_pieces_of_a_large_request_agree():
    start = 5
    whole = noise(3, Q_PROJ, start, (1 << 20) + 99)
    assert np.array_equal(noise(3, Q_PROJ, start + (1 << 20) - 50, 149), whole[-149:])


def test_parameters_of_equal_shape_get_different_noise():
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(30)] + [Q_PROJ, K_PROJ]
    assert len({noise(1, name, 0, 16).tobytes() for name in names}) == len(names)


def test_seeds_that_differ_only_above_32_bits_give_different_noise():
    seeds = [7, 7 + (1 << 32), 7 + (1 << 63)]
    assert len({noise(seed, Q_PROJ, 0, 64).tobytes() for seed in seeds}) == 3


def test_blocks_beyond_32_bits_do_not_repeat_the_first_ones():
    assert not np.array_equal(noise(1, Q_PROJ, 8 << 32, 64), noise(1, Q_PROJ, 0, 64))


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_gaussian_moments_and_distribution_are_those_of_the_standard_normal(seed):
    z = noise(seed, Q_PROJ, 0, N_SAMPLES).astype(np.float64)
    # Four to five standard errors of each statistic under independence.
    assert abs(z.mean()) < 4.5 / np.sqrt(N_SAMPLES)
    assert abs(z.var() - 1) < 4.5 * np.sqrt(2 / N_SAMPLES)
    assert abs((z**3).mean()) < 4.5 * np.sqrt(15 / N_SAMPLES)
    assert abs((z**4).mean() - 2.999) < 4.5 * np.sqrt(96 / N_SAMPLES)
    assert np.abs(z).max() <= 4.325
    assert scipy.stats.kstest(z[:100_000], "norm").pvalue > 1e-3


def test_rademacher_noise_is_fair_signs():
    z = noise(11, Q_PROJ, 0, N_SAMPLES, "rademacher")
    assert set(np.unique(z)) == {-1.0, 1.0}
    assert abs(z.mean(dtype=np.float64)) < 4.5 / np.sqrt(N_SAMPLES)


@pytest.mark.parametrize("family", ["gaussian", "rademacher"])
def test_noise_is_uncorrelated_across_tensors_seeds_and_lags(family):
    limit = 4.5 / np.sqrt(N_SAMPLES)
    z = noise(5, Q_PROJ, 0, N_SAMPLES, family)
    assert abs(correlation(z, noise(5, K_PROJ, 0, N_SAMPLES, family))) < limit
    for other_seed in (6, 5 + (1 << 32)):
        assert abs(correlation(z, noise(other_seed, Q_PROJ, 0, N_SAMPLES, family))) < limit
    for lag in (1, 2, 3, 4, 7, 8, 9, 16, 32, 64, 128, 576):
        assert abs(correlation(z[lag:], z[:-lag])) < 1.05 * limit


@pytest.mark.parametrize(("dtype", "torch_dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_casts_agree_with_those_of_torch_both_ways(dtype, torch_dtype):
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    wide = to_float32(every, dtype)
    expected = torch.from_numpy(every).view(torch_dtype).to(torch.float32).numpy()
    assert np.array_equal(wide, expected, equal_nan=True)
    # Random patterns, and the neighbourhood of every tie between two adjacent values of the dtype.
    random = np.random.default_rng(0).integers(0, 1 << 32, 1 << 20, dtype=np.uint32)
    tie = 1 << 15 if dtype == "bfloat16" else 1 << 12
    ties = (wide.view(np.uint32)[:, None] + np.array([tie - 1, tie, tie + 1, 0], dtype=np.uint32)).reshape(-1)
    # Below the normal halves a tie lies elsewhere: odd multiples of half the smallest one.
    tiny = (np.arange(1, 4096) * 2.0**-25).astype(np.float32)
    values = np.concatenate([random.view(np.float32), ties.view(np.float32), tiny, -tiny, np.nextafter(tiny, 1)])
    cast = torch.from_numpy(values).to(torch_dtype).view(torch.uint16).numpy()
    nan = np.isnan(values)
    ours = from_float32(values, dtype)
    assert np.array_equal(ours[~nan], cast[~nan])
    assert set(ours[nan]) == {spec.QUIET_NAN_BITS[dtype]}


def test_the_perturbation_rounds_twice_and_never_fuses():
    seed, sigma, n = 9, 1e-3, 4096
    base = np.random.default_rng(1).standard_normal(n).astype(np.float32)
    z = noise(seed, Q_PROJ, 0, n)
    twice = perturbed(base, dtype="float32", seed=seed, sigma=sigma, name=Q_PROJ)
    step = (np.float64(np.float32(sigma)) * z.astype(np.float64)).astype(np.float32)
    assert np.array_equal(twice, (base.astype(np.float64) + step.astype(np.float64)).astype(np.float32))
    fused = (base.astype(np.float64) + np.float64(np.float32(sigma)) * z.astype(np.float64)).astype(np.float32)
    assert not np.array_equal(twice, fused), "the inputs must be able to tell the two apart"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1 << 64}, "seed is"),
        ({"seed": 1.0}, "must be an integer"),
        ({"name": ""}, "name is ''"),
        ({"name": None}, "name is None"),
        ({"name": "\ud800"}, "UTF-8"),
        ({"start": -1}, "start is -1"),
        ({"count": -1}, "count is -1"),
        ({"start": 1 << 62, "count": 1}, "at most"),
        ({"family": "cauchy"}, "family is 'cauchy'"),
    ],
)
def test_bad_arguments_of_noise_are_named(change, message):
    with pytest.raises(InputError, match=message):
        noise(**{"seed": 1, "name": Q_PROJ, "start": 0, "count": 4} | change)


def test_numpy_integers_are_as_good_as_plain_ones():
    expected = noise(2**64 - 1, Q_PROJ, 3, 20)
    assert np.array_equal(noise(np.uint64(2**64 - 1), Q_PROJ, np.int64(3), np.int32(20)), expected)


def test_importing_the_package_loads_no_heavy_dependency():
    heavy = {"torch", "prefect", "mlflow", "duckdb", "transformers"}
    code = f"import sys, thickets.tasks.noise; print(sorted({heavy!r} & set(sys.modules)))"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
