"""A whole run over questions about images that are drawn here: from the data file to the report, and what follows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from tests.flows.publishing import published
from tests.tiny_vision_model import make_tiny_vision_model
from thickets import ask, evaluate
from thickets.flows.check.replies import check
from thickets.flows.config.run import RunConfig
from thickets.flows.plan import make_plan
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run, open_scores
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.tasks.engines import EngineSpec, build_engine, resolve_spec
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.noise import Perturbation
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.types import Sampling
from thickets.tasks.verifiers.short import short_answer

SHAPES = {"square": "red", "circle": "blue", "line": "green", "triangle": "orange", "cross": "purple"}
QUESTIONS = ("Which shape is it?", "Which colour is it?")


def draw(folder: Path, shape: str, colour: str) -> None:
    """Draw one shape; every image has a size of its own."""
    number = list(SHAPES).index(shape)
    picture = Pillow.new("RGB", (60 + 28 * (number % 3), 60 + 20 * number), "white")
    pen, box = ImageDraw.Draw(picture), (10, 10, 50, 50)
    match shape:
        case "square":
            pen.rectangle(box, fill=colour)
        case "circle":
            pen.ellipse(box, fill=colour)
        case "line":
            pen.line(box, fill=colour, width=5)
        case "triangle":
            pen.polygon([(10, 50), (50, 50), (30, 10)], fill=colour)
        case _:
            pen.line(box, fill=colour, width=5)
            pen.line((50, 10, 10, 50), fill=colour, width=5)
    picture.save(folder / "images" / f"{shape}.png")


def write(folder: Path, golds: dict[str, str]) -> Path:
    rows = [
        {
            "question": question,
            "answer": golds.get(f"{question} [image: images/{shape}.png]", shape),
            "image": f"images/{shape}.png",
        }
        for shape in SHAPES
        for question in QUESTIONS
    ]
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def base_answers(data: Path, model: Path) -> dict[str, str]:
    """What the base answers to each question, as it is shown, where it can be read."""
    problem, template = load_problem(ProblemConfig(name="gqa", path=str(data))), PromptTemplate.from_folder(model)
    examples = problem.examples(0, 0)
    engine = build_engine(EngineSpec("transformers", model, Perturbation(), device="cpu", batch_size=3))
    prompts = [template.render(problem.messages(example)) for example in examples]
    replies = engine.generate(prompts, Sampling(max_tokens=8))
    engine.close()
    found = {example.shown: short_answer(reply.text) for example, reply in zip(examples, replies, strict=True)}
    return {shown: answer for shown, answer in found.items() if answer is not None}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_vision_model(tmp_path_factory.mktemp("vision"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "images").mkdir(parents=True)
    for shape, colour in SHAPES.items():
        draw(tmp_path / "data", shape, colour)
    return write(tmp_path / "data", {})


@pytest.fixture
def make(model: Path, config: Callable[..., RunConfig]) -> Callable[..., RunConfig]:
    def made(data: Path, **sections: object) -> RunConfig:
        return config(
            **{
                "model": str(model),
                "problem": {"name": "gqa", "path": str(data)},
                "data": {"selection": 4, "validation": 3, "test": 3},
                "engine": {"kind": "transformers", "device": "cpu", "batch_size": 3},
                **sections,
            }
        )

    return made


def fingerprint_of(config: RunConfig) -> str:
    base, problem = find_base_model(config.model, None), load_problem(config.single_problem)
    splits = draw_splits(problem, selection=4, validation=3, test=3, seed=config.data.seed)
    return make_plan(config, base, problem, splits, resolve_spec).fingerprint


def test_check_shows_the_prompt_with_its_image_and_the_replies(make: Callable[..., RunConfig], data: Path) -> None:
    found = check(make(data), n=4)
    assert found.prompt.image is not None
    assert found.prompt.text.count("<|image_pad|>") == 1
    assert found.prompt.n_tokens > len(found.prompt.text.replace("<|image_pad|>", "#")) - 60  # one a character
    assert all(reply.question.endswith(".png]") for reply in found.replies)


def test_the_content_of_images_names_the_answers_and_their_place_does_not(
    make: Callable[..., RunConfig], data: Path, tmp_path: Path
) -> None:
    one = fingerprint_of(make(data))
    shutil.copytree(data.parent, tmp_path / "elsewhere")
    assert fingerprint_of(make(tmp_path / "elsewhere" / data.name)) == one
    draw(data.parent, "square", "yellow")
    assert fingerprint_of(make(data)) != one


def test_prompts_with_images_that_leave_no_room_are_found_before_anything_is_generated(
    make: Callable[..., RunConfig], data: Path
) -> None:
    with pytest.raises(InputError, match=r"data\.too_long: the prompt of .*\[image: images/.*\.png\].* has \d+ tokens"):
        fingerprint_of(make(data, decoding={"max_tokens": 440}))


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_whole_run(make: Callable[..., RunConfig], data: Path) -> None:
    # What the base replies is right, so that candidates differ from it, and the vote may break something.
    config = make(write(data.parent, base_answers(data, Path(make(data).model))))
    with published():
        summary = randopt(config)
    home = Home(summary.folder.parents[1])
    with open_scores(home, find_run(home, summary.run_id)) as reader:
        asked = reader.query("SELECT DISTINCT question FROM examples").to_series().to_list()
        texts = reader.query("SELECT DISTINCT completion FROM completions").height
        prompts = reader.query("SELECT DISTINCT p.image, question FROM prompts AS p JOIN examples USING (example_id)")
    assert all(image and f"[image: {image}]" in question for image, question in prompts.iter_rows())
    assert len(asked) == 10
    assert all(question.endswith(".png]") for question in asked)
    assert texts > 10
    report = (summary.folder / "report.html").read_text(encoding="utf-8")
    assert "[image: images/" in report

    again = randopt(config)  # finds everything there
    assert (again.run_id, again.evaluation) == (summary.run_id, summary.evaluation)

    with pytest.raises(InputError, match="these experts answer questions about images"):
        ask("latest", "Which shape is it?", home=home.root)
    found = evaluate("latest", data, home=home.root, base=True)
    assert found.accuracy.n == 10
