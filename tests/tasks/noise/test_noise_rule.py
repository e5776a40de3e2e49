"""The balanced rule: what follows from shape and norm, the same on every machine, at the length of plain noise."""

import math

import numpy as np
import pytest

from thickets.storage.errors import InputError
from thickets.tasks.noise.reference import from_float32, to_float32
from thickets.tasks.noise.rule import Measured, balanced, count_bfloat16, mean_square

TENSORS = [
    Measured("embed", (400, 16), 0.04, is_vocabulary=True),
    Measured("up", (64, 16), 0.01, is_vocabulary=False),
    Measured("down", (16, 64), 0.01, is_vocabulary=False),
    Measured("norm", (16,), 1.0, is_vocabulary=False),
    Measured("zeros", (16,), 0.0, is_vocabulary=False),
]


def test_factors_are_norm_over_worst_case_and_the_noise_is_as_long_as_without() -> None:
    factors = balanced(TENSORS)
    plain = {
        "embed": 0.2 / math.sqrt(2 * math.log(400)),
        "up": 0.1 / (1 + math.sqrt(16 / 64)),
        "down": 0.1 / (1 + math.sqrt(64 / 16)),
        "norm": 1 / math.sqrt(2 * math.log(16)),
    }
    assert factors["zeros"] == 0
    units = {factors[name] / value for name, value in plain.items()}
    assert max(units) / min(units) < 1 + 1e-5
    sizes = {tensor.name: tensor.size for tensor in TENSORS}
    mean = sum(sizes[name] * factor**2 for name, factor in factors.items()) / sum(sizes.values())
    assert mean == pytest.approx(1, rel=1e-5)
    assert all(float(f"{factor:.6g}") == factor for factor in factors.values())


def test_weights_twice_as_large_everywhere_have_the_same_factors() -> None:
    larger = [Measured(t.name, t.shape, 4 * t.mean_square, t.is_vocabulary) for t in TENSORS]
    assert balanced(larger) == balanced(TENSORS)


def test_noise_at_its_worst_weighs_equally_much_in_matrices() -> None:
    """The derivation, measured: the longest that noise makes a vector of length 1, against what the matrix makes."""
    generator = np.random.default_rng(0)
    shapes = {"wide": (40, 640), "tall": (640, 40), "square": (300, 300)}
    weights = {name: generator.normal(0, 0.05, shape) for name, shape in shapes.items()}
    factors = balanced([Measured(n, w.shape, float(np.mean(w**2)), is_vocabulary=False) for n, w in weights.items()])
    ratios = []
    for name, weight in weights.items():
        noise = factors[name] * generator.normal(0, 1, weight.shape)
        usual = np.linalg.norm(weight) / math.sqrt(weight.shape[1])
        ratios.append(np.linalg.norm(noise, 2) / usual)
    assert max(ratios) / min(ratios) < 1.15


def test_zeros_alone_are_refused() -> None:
    with pytest.raises(InputError, match="nothing but zeros"):
        balanced(TENSORS[-1:])


def test_the_mean_square_is_exact_and_depends_on_no_order() -> None:
    values = np.random.default_rng(1).normal(0, 0.1, 10_001).astype(np.float32)
    bits = from_float32(values, "bfloat16")
    wide = to_float32(bits, "bfloat16").astype(np.float64)
    expected = math.fsum((wide**2).tolist()) / len(wide)
    assert mean_square(count_bfloat16(bits), "w") == expected
    pieces = count_bfloat16(bits[:77]) + count_bfloat16(bits[:76:-1])
    assert mean_square(pieces, "w") == expected


@pytest.mark.parametrize("bad", [0x7F80, 0xFF80, 0x7FC0, 0xFF81])
def test_weights_that_are_no_numbers_are_refused_by_name(bad: int) -> None:
    with pytest.raises(InputError, match="the parameter w has weights"):
        mean_square(count_bfloat16(np.array([0, bad], np.uint16)), "w")
