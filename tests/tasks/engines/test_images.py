"""The image reaches the model: another image gives other answers, and each is what Transformers itself would give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Pillow
from transformers import AutoModelForImageTextToText

from tests.tiny_model import make_tiny_model
from tests.tiny_vision_model import IMAGE_TOKEN, make_tiny_vision_model
from thickets.storage.errors import InputError
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.engines.images import ImageReader
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.tokenizer import load_tokenizer
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.export.checkpoint import write_checkpoint
from thickets.tasks.images import describe
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate, Image, ImagePrompt, Message, Sampling

CANDIDATE, OTHER = Candidate(7, 0.05), Candidate(8, 0.05)
SAMPLING = Sampling(8)


def draw(folder: Path, name: str, colour: str, size: tuple[int, int] = (84, 56)) -> Image:
    """Write an image of one colour with a dark corner."""
    picture = Pillow.new("RGB", size, colour)
    picture.paste("black", (0, 0, size[0] // 2, size[1] // 3))
    picture.save(folder / name)
    return describe((folder / name).read_bytes(), folder / name, name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_vision_model(tmp_path_factory.mktemp("vision"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    """Two of equal size, and two that become other numbers of tokens."""
    at = tmp_path_factory.mktemp("images")
    return [
        draw(at, "red.png", "red"),
        draw(at, "blue.png", "blue"),
        draw(at, "tall.png", "green", (56, 140)),
        draw(at, "large.jpg", "orange", (300, 200)),
    ]


@pytest.fixture(scope="module")
def template(folder: Path) -> PromptTemplate:
    return PromptTemplate.from_folder(folder)


def asked(template: PromptTemplate, image: Image, question: str = "What colour?") -> ImagePrompt:
    message: Message = {"role": "user", "content": question, "image": image}
    rendered = template.render([message])
    assert isinstance(rendered, ImagePrompt)
    return rendered


@pytest.fixture(scope="module")
def prompts(template: PromptTemplate, images: list[Image]) -> list[ImagePrompt]:
    return [asked(template, image) for image in images]


def build(folder: Path, **changes: Any) -> TransformersEngine:
    given: dict[str, Any] = {"perturbation": Perturbation(), "device": "cpu", "dtype": "float32", **changes}
    return TransformersEngine(EngineSpec("transformers", folder, **given))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[TransformersEngine]:
    made = build(folder)
    yield made
    made.close()


def by_the_library(folder: Path, prompt: ImagePrompt, n_tokens: int = 8) -> str:
    """What Transformers' own `generate` answers, with its own way from image and text to positions."""
    model, tokenizer = AutoModelForImageTextToText.from_pretrained(folder).eval(), load_tokenizer(folder)
    reader = ImageReader(folder)
    pixels, grid = reader.pixels(prompt.image)
    n_parts = int(grid.prod()) // 4
    text = prompt.text.replace(IMAGE_TOKEN, IMAGE_TOKEN * n_parts)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    made = model.generate(
        input_ids=ids,
        pixel_values=pixels,
        image_grid_thw=grid,
        mm_token_type_ids=(ids == reader.token_id).int(),
        max_new_tokens=n_tokens,
        do_sample=False,
    )
    return str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))


def test_another_image_gives_another_answer(engine: TransformersEngine, prompts: list[ImagePrompt]) -> None:
    engine.load(None)
    red, blue = (engine.generate([prompt], SAMPLING)[0].text for prompt in prompts[:2])
    assert prompts[0].text == prompts[1].text  # the question is the same, and so is every token
    assert red != blue
    assert engine.generate([prompts[0]], SAMPLING)[0].text == red


def test_every_answer_is_the_librarys_own(
    engine: TransformersEngine, prompts: list[ImagePrompt], folder: Path, tmp_path: Path
) -> None:
    engine.load(None)
    assert [answer.text for answer in engine.generate(prompts, SAMPLING)] == [
        by_the_library(folder, prompt) for prompt in prompts
    ]
    write_checkpoint(folder, tmp_path, CANDIDATE, Perturbation())
    engine.load(CANDIDATE)
    assert [answer.text for answer in engine.generate(prompts, SAMPLING)] == [
        by_the_library(tmp_path, prompt) for prompt in prompts
    ]


def test_an_answer_does_not_depend_on_what_else_is_asked(
    engine: TransformersEngine, prompts: list[ImagePrompt]
) -> None:
    engine.load(CANDIDATE)
    together = engine.generate([*prompts, "1 + 1 ="], SAMPLING)
    assert [engine.generate([prompt], SAMPLING)[0] for prompt in [*prompts, "1 + 1 ="]] == together
    assert engine.generate(prompts[::-1], SAMPLING) == together[:4][::-1]


def test_candidates_one_after_the_other_answer_as_alone(
    engine: TransformersEngine, prompts: list[ImagePrompt], folder: Path
) -> None:
    def answers(of: TransformersEngine, who: Candidate | None) -> list[str]:
        of.load(who)
        return [each.text for each in of.generate(prompts, SAMPLING)]

    first = [answers(engine, who) for who in (None, CANDIDATE, OTHER)]
    assert len({tuple(each) for each in first}) == 3
    assert [answers(engine, who) for who in (OTHER, None, CANDIDATE)] == [first[2], first[0], first[1]]
    alone = build(folder)
    assert answers(alone, OTHER) == first[2]
    alone.close()


def test_features_are_made_anew_where_noise_reaches_the_vision_tower(
    prompts: list[ImagePrompt], folder: Path, tmp_path: Path
) -> None:
    every = Perturbation(include=("*visual*",), exclude=())
    engine = build(folder, perturbation=every)
    engine.load(None)
    base = engine.generate(prompts, SAMPLING)
    engine.load(CANDIDATE)
    found = [answer.text for answer in engine.generate(prompts, SAMPLING)]
    assert found != [answer.text for answer in base]
    write_checkpoint(folder, tmp_path, CANDIDATE, every)
    assert found == [by_the_library(tmp_path, prompt) for prompt in prompts]
    engine.close()


def test_samples_of_equal_tokens_look_at_their_own_image(
    engine: TransformersEngine, prompts: list[ImagePrompt]
) -> None:
    """What was read of the same tokens with another image must not be taken for it."""
    engine.load(None)
    sampling = Sampling(8, temperature=1.0, seed=3)
    red, blue = ([asked_ for asked_ in prompts if asked_.image.name == name] * 2 for name in ("red.png", "blue.png"))
    first, other = engine.generate(red, sampling), engine.generate(blue, sampling)
    assert first != other
    assert engine.generate(red, sampling) == first


def test_text_alone_is_answered_as_before_an_image_was_seen(engine: TransformersEngine, folder: Path) -> None:
    fresh = build(folder)
    for each in (fresh, engine):
        each.load(CANDIDATE)
    questions = ["1 + 1 =", "Which is larger, 17 or 4?"]
    assert engine.generate(questions, SAMPLING) == fresh.generate(questions, SAMPLING)
    fresh.close()


def test_what_is_measured_is_what_the_model_reads(template: PromptTemplate, prompts: list[ImagePrompt]) -> None:
    texts = [len(prompt.text.replace(IMAGE_TOKEN, "#").replace("<|vision_start|>", "#")) for prompt in prompts]
    assert len(set(texts)) == 1
    lengths = template.lengths([*prompts, "1 + 1 ="])
    # 84 x 56 pixels are 3 x 2 parts of 28 x 28; 56 x 140 are 2 x 5; the large one is made smaller.
    assert lengths[0] == lengths[1] == lengths[2] - 10 + 6
    assert lengths[3] - lengths[0] == 3 * 4 - 6
    assert lengths[4] == 7
    assert len(template.tokens(prompts[2]).ids) == lengths[2]
    template.check([{"role": "user", "content": "What colour?", "image": prompts[0].image}])


def test_pixels_are_those_of_the_librarys_processor_call(folder: Path, images: list[Image]) -> None:
    reader = ImageReader(folder)
    for image in images:
        pixels, grid = reader.pixels(image)
        assert tuple(grid[0].tolist()) == reader.grid(image)
        assert len(pixels) == 4 * reader.n_tokens(image)


def test_a_prompt_that_is_too_long_is_refused_by_what_its_image_becomes(
    engine: TransformersEngine, prompts: list[ImagePrompt]
) -> None:
    engine.load(None)
    with pytest.raises(InputError, match=r"the longest prompt has \d+ tokens and 500 more"):
        engine.generate(prompts, Sampling(500))


def test_a_question_that_writes_an_image_token_itself_is_refused(template: PromptTemplate, images: list[Image]) -> None:
    with pytest.raises(InputError, match="2 image tokens"):
        asked(template, images[0], f"What is {IMAGE_TOKEN}?")


def test_a_chat_template_that_leaves_the_image_out_is_refused(folder: Path, images: list[Image]) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}"
        "{% else %}{{ message['content'][-1]['text'] }}{% endif %}{% endfor %}"
    )
    template = PromptTemplate(tokenizer, images=lambda: ImageReader(folder))
    with pytest.raises(InputError, match="0 image tokens; the chat template leaves the image out"):
        asked(template, images[0])


def test_a_model_of_text_alone_is_refused(tmp_path: Path, images: list[Image]) -> None:
    folder = make_tiny_model(tmp_path)
    with pytest.raises(InputError, match=r"the questions are about images, but .* is of model_type 'llama'"):
        asked(PromptTemplate.from_folder(folder), images[0])
    engine = build(folder)
    with pytest.raises(InputError, match="model_type 'llama'"):
        engine.generate([ImagePrompt("1 + 1 =", images[0])], SAMPLING)
    engine.close()


def test_an_image_that_changes_is_an_error_and_never_another_answer(folder: Path, tmp_path: Path) -> None:
    image = draw(tmp_path, "a.png", "red")
    template, engine = PromptTemplate.from_folder(folder), build(folder)
    draw(tmp_path, "a.png", "blue")
    with pytest.raises(InputError, match=r"the image a\.png .*has changed since the data was read"):
        engine.generate([asked(template, image)], SAMPLING)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match="it cannot be read"):
        engine.generate([asked(template, image)], SAMPLING)
    engine.close()


def test_a_shape_that_the_model_does_not_take_names_the_image(template: PromptTemplate, images: list[Image]) -> None:
    thin = replace(images[0], width=4000, height=10, name="thin.png")
    with pytest.raises(InputError, match=r"the image thin\.png is 4000 x 10"):
        template.lengths([asked(template, thin)])


def test_how_images_are_read_is_part_of_what_identifies_prompts(folder: Path, tmp_path: Path) -> None:
    one = PromptTemplate.from_folder(folder).image_identity()
    assert one["processor"] == "Qwen2VLImageProcessorPil"
    other = make_tiny_vision_model(tmp_path)
    assert PromptTemplate.from_folder(other).image_identity() == one
    settings = json.loads((other / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").write_text(json.dumps({**settings, "max_pixels": 56 * 56}))
    assert PromptTemplate.from_folder(other).image_identity() != one
