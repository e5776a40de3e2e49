"""What does a base know of labels: by the label that it generates, and by the likelihood of each?

    python -m benchmarks.labels [--model smollm2-135m-instruct] [--engine transformers] [--json FILE]

Forty short reviews and twenty questions with four options, all written for this. So few answers are no measure of a
model; they show what the two ways of asking cost, and whether a small model can say at all what it finds likely.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.output import parser, show
from thickets.tasks.engines import Engine, EngineSpec, build_engine, resolve_spec
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.noise import Perturbation
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.splits import Split
from thickets.tasks.scoring.units import make_blocks, sampling_of

GOOD = (
    "The soup was the best I have had in years.",
    "Friendly staff, and the room had a view of the sea.",
    "I laughed from the first scene to the last.",
    "It arrived a day early and works perfectly.",
    "My children ask every week when we can go back.",
    "A careful, warm book that I will give to my friends.",
    "The battery lasts for three days; I am delighted.",
    "Fair prices, fresh bread and a smile at the till.",
    "She plays the part so well that I forgot the time.",
    "The new version is faster and looks wonderful.",
    "We were given a free dessert on our anniversary.",
    "The guide knew every stone and told great stories.",
    "Comfortable shoes, even after a whole day of walking.",
    "The concert was worth every mile of the journey.",
    "Clear instructions; I built the shelf in an hour.",
    "The dentist was gentle and explained every step.",
    "This pen writes beautifully and never leaks.",
    "Quiet at night, spotless, and close to the station.",
    "The course taught me more than a year at school.",
    "A lovely little cafe with excellent cakes.",
)
BAD = (
    "The soup was cold and the waiter was rude.",
    "Our room smelled of smoke and the bed was broken.",
    "I left after half an hour, bored to tears.",
    "It stopped working on the second day.",
    "We waited two hours and nobody apologised.",
    "A dull book full of mistakes; I gave up.",
    "The battery is empty by noon, a waste of money.",
    "Stale bread, high prices and a dirty floor.",
    "The acting was wooden and the plot made no sense.",
    "The new version crashes whenever I save a file.",
    "They lost our booking and blamed us for it.",
    "The guide was late and knew nothing about the town.",
    "These shoes fell apart after one walk in the rain.",
    "The singer forgot the words, and the sound was awful.",
    "Half of the screws were missing, and so was the manual.",
    "The dentist hurt me and would not listen.",
    "This pen leaks and has ruined my shirt.",
    "Noisy, filthy, and miles from the station.",
    "The course was a mess and I learned nothing.",
    "A miserable little cafe with terrible coffee.",
)
# The right option comes first here; its place is turned by the number of the question.
QUESTIONS = (
    ("Which of these is a fruit?", "pear", "carrot", "leek", "onion"),
    ("Which of these animals can fly?", "eagle", "horse", "trout", "snake"),
    ("What do people use to cut paper?", "scissors", "spoon", "pillow", "ladder"),
    ("What is the capital of France?", "Paris", "Rome", "Madrid", "Berlin"),
    ("Which of these is a colour?", "green", "table", "river", "seven"),
    ("Which season is the coldest?", "winter", "summer", "spring", "autumn"),
    ("How many days has a week?", "seven", "five", "nine", "twelve"),
    ("Which of these is a metal?", "iron", "sand", "wool", "milk"),
    ("What do bees make?", "honey", "bread", "glass", "paper"),
    ("Where do fish live?", "in water", "in trees", "in ovens", "in books"),
    ("Which of these is the largest?", "an elephant", "a mouse", "a bee", "a cat"),
    ("What falls from clouds?", "rain", "stone", "sand", "oil"),
    ("Which organ pumps blood?", "the heart", "the ear", "the knee", "the tongue"),
    ("What is frozen water called?", "ice", "steam", "salt", "coal"),
    ("Who flies a plane?", "a pilot", "a baker", "a tailor", "a farmer"),
    ("Which of these is a musical instrument?", "a violin", "a hammer", "a shovel", "a bucket"),
    ("What do you wear on your feet?", "shoes", "gloves", "a hat", "a scarf"),
    ("Which of these is a planet?", "Mars", "London", "Everest", "Amazon"),
    ("What comes after Monday?", "Tuesday", "Sunday", "Friday", "March"),
    ("Which of these is hot?", "fire", "snow", "ice", "frost"),
)
GENERATED, LIKELIEST = {"scoring": "generate"}, {"scoring": "loglikelihood"}
WAYS: dict[str, dict[str, Any]] = {
    "reviews, label generated": {"name": "classification", **GENERATED},
    "reviews, likeliest label": {"name": "classification", **LIKELIEST},
    "questions, letter generated": {"name": "choice", **GENERATED},
    "questions, likeliest letter": {"name": "choice", **LIKELIEST},
    "questions, likeliest text per byte": {"name": "choice", "likelihood_of": "text", **LIKELIEST},
}


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--model", default="smollm2-135m-instruct")
    options_parser.add_argument("--engine", default="transformers")
    options_parser.add_argument("--dtype", default="auto")
    options = options_parser.parse_args()
    base = find_base_model(options.model)
    spec = resolve_spec(EngineSpec(options.engine, base.path, Perturbation(), dtype=options.dtype, max_length=512))
    engine = build_engine(spec)
    engine.load(None)
    template = PromptTemplate.from_folder(base.path)
    with tempfile.TemporaryDirectory() as folder:
        rows = {way: measure(engine, template, written(Path(folder), fields)) for way, fields in WAYS.items()}
    engine.close()
    show(f"{base.name}, {spec.kind}, {spec.dtype}", rows, options.json)


def written(folder: Path, fields: dict[str, Any]) -> ProblemConfig:
    """Write the rows of a problem to a file, and return its configuration."""
    if fields["name"] == "classification":
        rows = [{"text": text, "label": "positive"} for text in GOOD] + [{"text": t, "label": "negative"} for t in BAD]
    else:
        rows = []
        for place, (question, *options) in enumerate(QUESTIONS):
            turned = [*options[-(place % 4) :], *options[: -(place % 4)]] if place % 4 else options
            rows.append({"question": question, "choices": turned, "answer": options[0]})
    path = folder / f"{fields['name']}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ProblemConfig.model_validate({"path": str(path), **fields})


def measure(engine: Engine, template: PromptTemplate, config: ProblemConfig) -> dict[str, float]:
    """Ask everything once, and again for the time."""
    problem = load_problem(config)
    judge, examples = Judge(problem), tuple(problem.examples(0, 0))
    [block] = make_blocks(Split("test", examples, ""), problem, template, len(examples))
    sampling = sampling_of(None, block, problem.sampling)
    completions = engine.generate(block.prompts, sampling)
    began = time.perf_counter()
    engine.generate(block.prompts, sampling)
    took_s = time.perf_counter() - began
    verdicts = judge.judge([completion.text for completion in completions], block.examples)
    return {
        "right": sum(verdict.correct for verdict in verdicts),
        "abstained": sum(verdict.answer is None for verdict in verdicts),
        "of": len(verdicts),
        "seconds": took_s,
    }


if __name__ == "__main__":
    main()
