"""The likelihood of labels by vLLM is that of the Transformers engine, whatever either held or answered before."""

from __future__ import annotations

import importlib.util
import string
from collections.abc import Iterator

import pytest
import torch

from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec, build_engine, vllm_labels
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.engines.vllm import VllmEngine, is_available
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate, Label, Labels, Sampling

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Flash attention knows no float32.
DTYPE, NEAR = ("bfloat16", 0.3) if DEVICE == "cuda" else ("float32", 1e-3)
# Long enough to fill blocks of 32 tokens, with a beginning in common: what the prefix cache keeps.
PROMPTS = [
    f"[user] Say which of these moods the text number {n} {'really ' * (n % 3)}has?\n[assistant] " for n in range(6)
]
TEXTS = ("positive", "negative", "no", "x", "neutral", "y")
CANDIDATES = (Candidate(11, 0.05), None, Candidate(12, 0.1))


def labels(texts: tuple[str, ...] = TEXTS) -> Labels:
    return Labels(tuple(tuple(Label(text, text) for text in texts[: 2 + n]) for n in range(len(PROMPTS))))


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VllmEngine, TransformersEngine]]:
    if not is_available(DEVICE):
        pytest.skip(f"the build of vLLM that is installed does not serve {DEVICE}")
    folder = make_tiny_model(tmp_path_factory.mktemp("tied") / "model", head_dim=32)
    made = [
        build_engine(EngineSpec(kind, folder, Perturbation(), device=DEVICE, dtype=DTYPE, max_length=256))
        for kind in ("vllm", "transformers")
    ]
    assert isinstance(made[0], VllmEngine)
    assert isinstance(made[1], TransformersEngine)
    yield made[0], made[1]
    for engine in made:
        engine.close()


def test_both_engines_find_labels_as_likely(engines: tuple[VllmEngine, TransformersEngine]) -> None:
    mine, other = engines
    chosen = []
    for candidate in CANDIDATES:
        for engine in engines:
            engine.load(candidate)
        found = mine.likelihoods(PROMPTS, labels())
        for row, expected in zip(found, other.likelihoods(PROMPTS, labels()), strict=True):
            assert [each.n_tokens for each in row] == [each.n_tokens for each in expected]
            assert [each.log for each in row] == pytest.approx([each.log for each in expected], abs=NEAR)
        # What is cached of an answer before, or of other prompts, changes nothing.
        mine.generate(PROMPTS[::-1], Sampling(3))
        assert mine.likelihoods(PROMPTS, labels()) == found
        sampling = Sampling(16, labels=labels())
        chosen.append([completion.text for completion in mine.generate(PROMPTS, sampling)])
        assert chosen[-1] == [completion.text for completion in other.generate(PROMPTS, sampling)]
    assert chosen[0] != chosen[2]


def test_more_labels_than_a_request_may_name(
    engines: tuple[VllmEngine, TransformersEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = engines
    monkeypatch.setattr(vllm_labels, "_MOST_TOKENS", 50)  # the tiny model has fewer tokens than vLLM's 128
    for engine in engines:
        engine.load(CANDIDATES[0])
    letters = string.ascii_letters + string.digits
    texts = tuple(first + second for first in "ab" for second in letters) + tuple("cdefghij")
    [row] = mine.likelihoods(PROMPTS[:1], Labels((tuple(Label(text, text) for text in texts),)))
    [expected] = other.likelihoods(PROMPTS[:1], Labels((tuple(Label(text, text) for text in texts),)))
    assert [each.log for each in row] == pytest.approx([each.log for each in expected], abs=NEAR)


def test_what_cannot_be_compared_is_refused(engines: tuple[VllmEngine, TransformersEngine]) -> None:
    mine, _ = engines
    with pytest.raises(InputError, match=r"problem\.labels"):
        mine.likelihoods(PROMPTS[:1], Labels(((Label("a", "a"), Label("b", "ab")),)))
    with pytest.raises(InputError, match="this model holds at most"):
        mine.likelihoods(["a" * 254], Labels(((Label("a", "a"), Label("b", "bcd")),)))
    assert mine.likelihoods([], Labels(())) == []
