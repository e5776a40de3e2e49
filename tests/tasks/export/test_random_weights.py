"""A checkpoint of random weights: the same bits whatever the model has learnt and whatever PyTorch draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.tiny_model import make_tiny_model
from thickets.storage.models.weights import identify_weights
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.export import random_weights
from thickets.tasks.export.random_weights import write_random_checkpoint
from thickets.tasks.noise import noise

# Of the tiny Llama in float32. Another hash here means that the floors of others are not found again.
_SHA256 = "695b6de458dcb74072238f1a50a6739f37feb9106d32a6cd45995562ad2f54fd"


def written(base: Path, folder: Path) -> dict[str, torch.Tensor]:
    folder.mkdir()
    write_random_checkpoint(base, folder)
    return load_file(folder / "model.safetensors")


def test_two_models_of_one_architecture_have_one_floor_and_it_is_the_same_everywhere(tmp_path: Path) -> None:
    for seed in (0, 1):
        written(make_tiny_model(tmp_path / f"base-{seed}", seed=seed), tmp_path / f"floor-{seed}")
        assert identify_weights(tmp_path / f"floor-{seed}", tmp_path / "memory.json").sha256 == _SHA256


def test_a_use_of_chance_in_pytorch_stays_as_it_was(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base")
    before = torch.random.get_rng_state()
    written(base, tmp_path / "floor")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_the_class_draws_is_our_noise_and_the_rest_is_what_it_begins_with(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    base = make_tiny_model(tmp_path / "base", dtype=dtype, tied=False)
    learnt = load_file(base / "model.safetensors")
    found = written(base, tmp_path / "floor")
    assert found.keys() == learnt.keys()
    for name, tensor in found.items():
        assert (tensor.dtype, tensor.shape) == (dtype, learnt[name].shape)
        if "norm" in name:
            assert torch.equal(tensor, torch.ones_like(tensor))
            continue
        drawn = np.float32(0.3) * noise(random_weights._SEED, name, 0, tensor.numel())
        assert torch.equal(tensor.view(-1), torch.from_numpy(drawn).to(dtype)), name
        assert not torch.equal(tensor, learnt[name])


def test_prompts_and_tokens_are_those_of_the_model(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base")
    written(base, tmp_path / "floor")
    ours, theirs = PromptTemplate.from_folder(tmp_path / "floor"), PromptTemplate.from_folder(base)
    assert ours.identity() == theirs.identity()
    prompt = ours.render([{"role": "user", "content": "Which is larger, 3 or 7?"}])
    assert ours.tokens(prompt) == theirs.tokens(prompt)
    for name in ("tokenizer.json", "config.json"):
        assert (tmp_path / "floor" / name).read_bytes() == (base / name).read_bytes()
