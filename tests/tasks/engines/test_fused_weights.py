"""Weights that several tensors share get, part by part, what each tensor's own weights would get."""

from __future__ import annotations

import pytest
import torch

from thickets.storage.errors import InputError
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.fused_weights import FusedWeights
from thickets.tasks.noise.spec import Part, Row
from thickets.tasks.types import Average, Candidate

PARTS = [Part(3, 60, "q", start=8), Part(70, 24, "k", start=2, row=Row(6, 9))]
ONE, OTHER = Candidate(1, 0.1), Candidate(2, 0.2)


@pytest.mark.parametrize("wanted", [ONE, Average((ONE, OTHER)), None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_part_is_its_tensors_and_the_rest_is_the_bases(wanted, dtype) -> None:
    base = torch.randn(100, generator=torch.Generator().manual_seed(0)).to(dtype)
    live, expected = torch.zeros_like(base), base.clone()
    for part in PARTS if wanted is not None else ():
        place = slice(part.at, part.at + part.size)
        options = {"name": part.name, "weights": wanted, "family": "gaussian", "start": part.start, "row": part.row}
        write_weights(expected[place], base[place], **options)
    writer = FusedWeights(live, base, PARTS, "gaussian")
    writer.write(OTHER)
    assert not torch.equal(live, base)
    writer.write(wanted)
    assert torch.equal(live, expected)


def test_what_no_candidate_changes_is_copied() -> None:
    live = torch.zeros(4)
    FusedWeights(live, torch.arange(4.0), [], "gaussian").write(ONE)
    assert torch.equal(live, torch.arange(4.0))


def test_a_base_of_another_size_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="both must be flat and alike"):
        FusedWeights(torch.zeros(100), torch.zeros(99), PARTS, "gaussian")
