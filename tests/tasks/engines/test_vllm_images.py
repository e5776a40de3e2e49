"""vLLM sees the images: what it answers is what the Transformers engine answers, candidate after candidate."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tasks.engines.test_images import asked, draw
from tests.tiny_vision_model import make_tiny_vision_model
from thickets.storage.errors import InputError
from thickets.tasks.engines import Engine, EngineSpec, build_engine
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.vllm import is_available
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate, ImagePrompt, Sampling

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here")
CANDIDATE, OTHER = Candidate(7, 0.05), Candidate(8, 0.05)
SAMPLING = Sampling(8)


@pytest.fixture(scope="module", autouse=True)
def _on_the_cpu() -> None:
    if torch.cuda.is_available() or not is_available("cpu"):
        pytest.skip("about bits that both engines share in float32 on the CPU")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_vision_model(tmp_path_factory.mktemp("vision"))


@pytest.fixture(scope="module")
def prompts(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[ImagePrompt]:
    at, template = tmp_path_factory.mktemp("images"), PromptTemplate.from_folder(folder)
    images = [
        draw(at, "red.png", "red"),
        draw(at, "blue.png", "blue"),
        draw(at, "tall.png", "green", (56, 140)),
        draw(at, "large.jpg", "orange", (300, 200)),
    ]
    return [asked(template, image) for image in images]


def spec(kind: str, folder: Path, **changes: Any) -> EngineSpec:
    given: dict[str, Any] = {
        **{"perturbation": Perturbation(), "device": "cpu", "dtype": "float32", "max_length": 128},
        **changes,
    }
    return EngineSpec(kind, folder, **given)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    made = build_engine(spec("vllm", folder))
    yield made
    made.close()


def answers(engine: Engine, who: Candidate | None, prompts: list[ImagePrompt]) -> list[str]:
    engine.load(who)
    return [each.text for each in engine.generate(prompts, SAMPLING)]


def test_it_answers_as_the_transformers_engine_does(engine: Engine, prompts: list[ImagePrompt], folder: Path) -> None:
    other = build_engine(spec("transformers", folder))
    expected = [answers(other, who, prompts) for who in (None, CANDIDATE, OTHER)]
    other.close()
    assert len({tuple(each) for each in expected}) == 3
    assert expected[0][0] != expected[0][1]  # red and blue, of the same tokens
    assert [answers(engine, who, prompts) for who in (None, CANDIDATE, OTHER)] == expected
    assert [answers(engine, who, prompts) for who in (OTHER, None, CANDIDATE)] == [expected[i] for i in (2, 0, 1)]
    assert answers(engine, CANDIDATE, prompts[1:2]) == expected[1][1:2]


def test_it_reads_as_many_tokens_as_were_planned(engine: Engine, prompts: list[ImagePrompt], folder: Path) -> None:
    engine.load(None)
    assert engine._reader.ids(prompts) == [  # type: ignore[attr-defined]
        output.prompt_token_ids
        for output in engine._answer(  # type: ignore[attr-defined]
            engine._reader.ids(prompts),  # type: ignore[attr-defined]
            Sampling(1),
            [prompt.image for prompt in prompts],
        )
    ]


def test_samples_look_at_their_own_image(engine: Engine, prompts: list[ImagePrompt]) -> None:
    engine.load(None)
    sampling = Sampling(8, temperature=1.0, seed=3)
    first = engine.generate(prompts[:1] * 4, sampling)
    assert engine.generate(prompts[1:2] * 4, sampling) != first
    assert engine.generate(prompts[:1] * 4, sampling) == first


def test_text_alone_is_answered_too(engine: Engine, folder: Path) -> None:
    questions = ["1 + 1 =", "Which is larger, 17 or 4?"]
    other = build_engine(spec("transformers", folder))
    for each in (other, engine):
        each.load(CANDIDATE)
    assert engine.generate(questions, SAMPLING) == other.generate(questions, SAMPLING)
    other.close()


def test_a_prompt_that_is_too_long_is_refused_by_what_its_image_becomes(
    engine: Engine, prompts: list[ImagePrompt]
) -> None:
    with pytest.raises(InputError, match="the longest prompt has"):
        engine.generate(prompts, Sampling(100))


class TestAPerturbedVisionTower:
    def test_its_features_are_made_anew(self, prompts: list[ImagePrompt], folder: Path, engine: Engine) -> None:
        engine.close()  # a process holds one at a time
        every = Perturbation(include=("*visual*",), exclude=())
        expected = []
        other = build_engine(spec("transformers", folder, perturbation=every))
        expected = [answers(other, who, prompts) for who in (None, CANDIDATE)]
        other.close()
        assert expected[0] != expected[1]
        made = build_engine(spec("vllm", folder, perturbation=every))
        assert [answers(made, who, prompts) for who in (None, CANDIDATE, None)] == [*expected, expected[0]]
        made.close()
