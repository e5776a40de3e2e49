"""Sampled tokens follow the model's distribution and are the same again, whatever else is or was decoded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from tests.sampling_statistics import LEAST_P, first_token_shares, goodness
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.sampling import TokenChooser, uniforms
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate, Sampling

PROMPTS = [f"[user] {text}\n[assistant] " for text in ("2+2?", "17 or 4?", "x", "say 123", "a b c d", "2+2?", "2+2?")]
SAMPLED = Sampling(24, temperature=0.9, seed=5)


def engine(folder: Path, batch_size: int = 64) -> TransformersEngine:
    return TransformersEngine(
        EngineSpec("transformers", folder, Perturbation(), device="cpu", dtype="float32", batch_size=batch_size)
    )


def test_the_numbers_are_those_of_philox() -> None:
    """Known answer of Random123 for counter 0 and key 0."""
    assert uniforms(0, np.array([0], np.uint32), 0) == (0x6627E8D5 + 0.5) / 2**32
    many = np.concatenate([uniforms(2**64 - 1, np.arange(500, dtype=np.uint32), step) for step in range(40)])
    assert len(set(many)) > 0.999 * many.size
    assert 0 < many.min() < many.max() < 1
    assert stats.kstest(many, "uniform").pvalue > LEAST_P


def test_without_temperature_the_likeliest_token_is_taken() -> None:
    logits = torch.tensor([[1.0, 3.0, 3.0], [2.0, 1.0, 0.0]], dtype=torch.bfloat16)
    assert torch.equal(TokenChooser(Sampling(1), [0, 1]).choose(logits, [0, 1], 0), logits.argmax(dim=-1))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_of_rows_and_steps_are_drawn_from_softmax_and_apart_from_each_other(temperature: float) -> None:
    n, logits = 10_000, torch.tensor([0.0, 1.0, -1.0, 2.0, float("-inf"), 0.5])
    chooser = TokenChooser(Sampling(9, temperature=temperature, seed=3), range(n))
    steps = [chooser.choose(logits.expand(n, -1), range(n), step).tolist() for step in range(3)]
    shares = torch.softmax(logits.double() / temperature, dim=-1).tolist()
    assert goodness(Counter(steps[0] + steps[1] + steps[2]), dict(enumerate(shares))) > LEAST_P
    pairs = {(a, b): shares[a] * shares[b] for a in range(6) for b in range(6)}
    assert goodness(Counter(zip(steps[0], steps[1], strict=True)), pairs) > LEAST_P
    assert goodness(Counter(zip(steps[0], steps[0][1:] + steps[0][:1], strict=True)), pairs) > LEAST_P


def test_a_row_is_drawn_alike_in_any_company() -> None:
    logits = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    sampling = Sampling(9, temperature=1.0, seed=1)
    whole = TokenChooser(sampling, range(6)).choose(logits, range(6), 4)
    some = TokenChooser(sampling, [5, 3, 0]).choose(logits[[3, 0]], [1, 2], 4)
    assert some.tolist() == whole[[3, 0]].tolist()


def test_first_tokens_of_a_model_are_distributed_as_its_softmax_says(tiny_model: Path) -> None:
    n, temperature, prompt = 4000, 1.3, PROMPTS[0]
    drawn = engine(tiny_model, batch_size=1000).generate([prompt] * n, Sampling(1, temperature=temperature, seed=11))
    expected = first_token_shares(tiny_model, prompt, temperature)
    assert goodness(Counter(completion.text for completion in drawn), expected) > LEAST_P


def test_near_zero_sampling_is_greedy(tiny_model: Path) -> None:
    held = engine(tiny_model)
    assert held.generate(PROMPTS, Sampling(24, temperature=1e-4)) == held.generate(PROMPTS, Sampling(24))


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_in_float32_the_batch_size_and_the_rows_that_end_change_nothing(tiny_model: Path, batch_size: int) -> None:
    whole = engine(tiny_model).generate(PROMPTS, SAMPLED)
    assert engine(tiny_model, batch_size).generate(PROMPTS, SAMPLED) == whole
    # A stop string ends rows at different steps, which drops them from the batch.
    stop = whole[0].text[2]
    stopped = engine(tiny_model, batch_size).generate(PROMPTS, Sampling(24, (stop,), SAMPLED.temperature, SAMPLED.seed))
    assert [completion.text for completion in stopped] == [completion.text.split(stop)[0] for completion in whole]
    assert len({completion.n_tokens for completion in stopped}) > 1


def test_a_unit_is_the_same_again_after_others(tiny_model: Path) -> None:
    held = engine(tiny_model)
    held.load(None)
    first = held.generate(PROMPTS, SAMPLED)
    torch.manual_seed(99)
    held.load(Candidate(1, 0.1))
    held.generate(PROMPTS[:3], SAMPLED)
    held.load(None)
    assert held.generate(PROMPTS, SAMPLED) == first


def test_equal_prompts_and_other_seeds_get_draws_of_their_own(tiny_model: Path) -> None:
    held = engine(tiny_model)
    first = held.generate(PROMPTS, SAMPLED)
    assert len({first[place].text for place in (0, 5, 6)}) == 3
    assert held.generate(PROMPTS, Sampling(24, temperature=0.9, seed=6)) != first
