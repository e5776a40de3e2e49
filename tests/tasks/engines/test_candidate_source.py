"""What vLLM's worker is given on the CPU: every candidate's own bits, though the memory is the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.checkpoint import Checkpoint, inspect_checkpoint
from thickets.tasks.engines.vllm_worker import CandidateSource
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Average, Candidate, Weights

CPU = torch.device("cpu")
ONE, OTHER = Candidate(11, 0.05), Candidate(12, 0.1)


@pytest.fixture
def checkpoint(tiny_model: Path) -> Checkpoint:
    return inspect_checkpoint(tiny_model)


def expected(checkpoint: Checkpoint, wanted: Weights | None) -> dict[str, torch.Tensor]:
    """Made anew, tensor by tensor."""
    names, found = checkpoint.perturbed(Perturbation()), {}
    for tensor in checkpoint.tensors:
        base = found[tensor.name] = tensor.read()
        if wanted is not None and tensor.name in names:
            out = found[tensor.name] = torch.empty_like(base)
            noise_name = names[tensor.name]
            write_weights(out.view(-1), base.view(-1), name=noise_name, weights=wanted, family="gaussian")
    return found


def assert_gives(source: CandidateSource, wanted: Weights | None, checkpoint: Checkpoint) -> None:
    given, right = dict(source.weights(wanted)), expected(checkpoint, wanted)
    assert given.keys() == right.keys()
    assert [name for name in right if not torch.equal(given[name], right[name])] == []


@pytest.mark.parametrize("prefetch", [False, True])
def test_whatever_was_given_out_or_prepared_before_the_bits_are_the_candidates(
    checkpoint: Checkpoint, prefetch: bool
) -> None:
    source = CandidateSource(checkpoint, Perturbation(), CPU, CPU, prefetch=prefetch)
    assert_gives(source, ONE, checkpoint)
    source.prepare(OTHER)
    assert_gives(source, OTHER, checkpoint)
    source.prepare(OTHER)  # who comes next may be somebody else after all
    for wanted in (ONE, None, Average((ONE, OTHER)), OTHER):
        assert_gives(source, wanted, checkpoint)


def test_one_candidate_after_another_takes_no_new_memory(checkpoint: Checkpoint) -> None:
    source = CandidateSource(checkpoint, Perturbation(), CPU, CPU, prefetch=False)
    perturbed = checkpoint.perturbed(Perturbation())
    first, second = (
        {name: tensor.data_ptr() for name, tensor in source.weights(who) if name in perturbed} for who in (ONE, OTHER)
    )
    assert first == second
    assert len(set(first.values())) == len(perturbed), "vLLM collects a layer's tensors before it takes any"
