"""Attention without copies of shared keys and values is what PyTorch's own attention gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.tasks.engines.test_decoding import PROMPTS
from tests.tiny_model import make_tiny_model
from thickets.tasks.engines import EngineSpec, attention
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate, Sampling


class Layer(torch.nn.Module):
    num_key_value_groups = 3
    is_causal = True


@pytest.mark.parametrize("n_new", [1, 4])
@pytest.mark.parametrize("masked", [True, False])
def test_it_attends_as_the_library_does(n_new: int, masked: bool) -> None:
    draw = torch.Generator().manual_seed(1)
    query = torch.randn(5, 6, n_new, 8, generator=draw)
    key, value = (torch.randn(5, 2, 11, 8, generator=draw) for _ in range(2))
    mask = (torch.rand(5, 1, n_new, 11, generator=draw) > 0.3) if masked else None
    if mask is not None:
        mask[..., 0] = True  # every row sees something
    ours, _ = attention._attend(Layer(), query, key, value, mask, scaling=0.3, dropout=0.0)
    theirs, _ = sdpa_attention_forward(Layer(), query, key, value, mask, scaling=0.3, dropout=0.0)
    assert ours.shape == theirs.shape == (5, n_new, 6, 8)
    torch.testing.assert_close(ours, theirs)


def test_an_engine_uses_it_where_heads_share_and_answers_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny_model(tmp_path)
    answers = []
    for used in (True, False):
        if not used:
            monkeypatch.setattr("thickets.tasks.engines.transformers.group_heads", lambda model: None)
        engine = TransformersEngine(EngineSpec("transformers", folder, Perturbation(), device="cpu"))
        assert (engine.model.config._attn_implementation == attention.NAME) is used
        engine.load(Candidate(3, 0.1))
        answers.append(engine.generate(PROMPTS, Sampling(12)))
    assert answers[0] == answers[1]
