"""Merges of candidates: the definition in plain NumPy, and the same bits wherever one is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tasks.engines.test_average_weights import DTYPES, FAMILIES, MEMBERS, NAME, same_bits, weights, written
from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.export.checkpoint import write_checkpoint
from thickets.tasks.noise import Family, Perturbation, noise
from thickets.tasks.types import Average, Candidate, Merge

COEFFICIENTS = (0.75, -1.5, 1.0)


def merged_in_numpy(base: torch.Tensor, merge: Merge, name: str, family: Family) -> torch.Tensor:
    """The definition of a merge, with nothing of the kernels in it but the noise itself."""
    total = np.full(base.numel(), -0.0, np.float32)
    for member, coefficient in zip(merge.members, merge.coefficients, strict=True):
        total = total + np.float32(coefficient * member.sigma) * noise(member.seed, name, 0, base.numel(), family)
    assert total.dtype == np.float32
    return torch.from_numpy(base.float().numpy().ravel() + total).to(base.dtype)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_merge_is_that_of_plain_numpy_and_of_one_by_one_it_is_that_candidate(
    dtype: torch.dtype, family: Family
) -> None:
    base, merge = weights(dtype), Merge(MEMBERS, COEFFICIENTS)
    assert same_bits(written(base, merge, family), merged_in_numpy(base, merge, NAME, family))
    assert not torch.equal(written(base, Merge(MEMBERS, (0.75, 1.5, 1.0)), family), written(base, merge, family))
    assert same_bits(written(base, Merge(MEMBERS[:1], (1.0,)), family), written(base, MEMBERS[0], family))


@pytest.mark.parametrize(
    ("members", "coefficients"),
    [((), ()), (MEMBERS, (1.0,)), *((MEMBERS[:1], (bad,)) for bad in (0.0, float("nan"), float("inf"), 1e-60, 1e60))],
    ids=str,
)
def test_a_merge_without_sense_is_refused(members: tuple[Candidate, ...], coefficients: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="coefficient"):
        Merge(members, coefficients)


def test_the_name_of_a_merge_says_whose_it_is_and_how_much_of_each() -> None:
    whole = Merge(MEMBERS, COEFFICIENTS)
    others = (Merge(MEMBERS[::-1], COEFFICIENTS), Merge(MEMBERS, (0.75, -1.5, 0.5)), Merge(MEMBERS[:1], (1.0,)))
    assert len({whole.id, *(each.id for each in others), Average(MEMBERS).id}) == 5


def test_two_steps_are_those_of_their_materialized_selves(tmp_path: Path) -> None:
    """A candidate around a merge is the candidate around the checkpoint that the merge is written as."""
    merge, candidate = Merge(MEMBERS[:2], (0.5, 2.0)), Candidate(11, 0.01)
    folder = make_tiny_model(tmp_path / "base", dtype=torch.bfloat16)
    (tmp_path / "merged").mkdir()
    write_checkpoint(folder, tmp_path / "merged", merge, Perturbation())
    base = TransformersEngine(EngineSpec("transformers", folder, Perturbation(), device="cpu"))
    expected = {name: tensor.detach().reshape(-1).clone() for name, tensor in base._model.named_parameters()}
    engine = TransformersEngine(EngineSpec("transformers", tmp_path / "merged", Perturbation(), device="cpu"))
    engine.load(candidate)
    for name, tensor in engine._model.named_parameters():
        once = expected[name]
        for step in (merge, candidate):
            write_weights(once, once, name=name, weights=step, family="gaussian")
        assert same_bits(tensor.detach().reshape(-1), once), name
    base.load(merge)
    engine.load(None)
    assert base.weights_sha256() == engine.weights_sha256()
