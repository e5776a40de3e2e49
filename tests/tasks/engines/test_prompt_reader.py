"""A block's prompts are tokenized once, however many candidates answer them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from thickets.tasks.engines import EngineSpec, prompt_reader
from thickets.tasks.engines.prompt_reader import PromptReader
from thickets.tasks.engines.tokenizer import load_tokenizer, prompt_ids
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate, Sampling

BLOCKS = [tuple(f"[user] {block} or {n}?\n[assistant] " for n in range(3)) for block in range(3)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The lists of prompts that are tokenized."""
    found: list[Sequence[str]] = []

    def counted(tokenizer: object, prompts: Sequence[str]) -> list[list[int]]:
        found.append(prompts)
        return prompt_ids(tokenizer, prompts)

    monkeypatch.setattr(prompt_reader, "prompt_ids", counted)
    return found


def test_an_engine_tokenizes_a_block_for_its_first_candidate_alone(
    tiny_model: Path, asked: list[Sequence[str]]
) -> None:
    engine = TransformersEngine(EngineSpec("transformers", tiny_model, Perturbation(), device="cpu"))
    for candidate in (None, Candidate(1, 0.1), Candidate(2, 0.1)):
        engine.load(candidate)
        for prompts in BLOCKS:
            engine.generate(list(prompts), Sampling(2))
    assert [tuple(prompts) for prompts in asked] == BLOCKS
    engine.close()


def test_what_was_not_asked_for_lately_is_forgotten_beyond_the_limit(
    tiny_model: Path, asked: list[Sequence[str]]
) -> None:
    tokenizer = load_tokenizer(tiny_model)
    expected = [prompt_ids(tokenizer, prompts) for prompts in BLOCKS]
    size = sum(map(len, expected[0]))
    reader = PromptReader(tokenizer, most_kept=2 * size)
    for block in (0, 1, 0, 2, 0, 1):
        assert reader.ids(BLOCKS[block]) == expected[block]
    assert list(asked) == [BLOCKS[block] for block in (0, 1, 2, 1)]
    none = PromptReader(tokenizer, most_kept=0)
    assert none.ids(BLOCKS[0]) is none.ids(BLOCKS[0]), "the last list is kept however long it is"
