"""GRPO by TRL: it learns, what it spends is what is counted, and a kill at any moment changes nothing."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from thickets.tasks.distillation.exam import ExamMark
from thickets.tasks.distillation.student import write_student
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.tokenizer import load_tokenizer, prompt_ids
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.results.cost import Cost, flops_of
from thickets.tasks.rivals.grpo.meter import CostMeter
from thickets.tasks.rivals.grpo.questions import Questions
from thickets.tasks.rivals.grpo.results import GrpoTraining, Line, Look
from thickets.tasks.rivals.grpo.settings import ALL_STEPS, BUDGET_SPENT, OUT_OF_PATIENCE, Allowance, GrpoSettings
from thickets.tasks.rivals.grpo.training import Course
from thickets.tasks.statistics import accuracy
from thickets.tasks.types import Example, Sampling

SETTINGS = GrpoSettings(
    method="lora",
    rank=4,
    alpha=8,
    learning_rate=1e-2,
    warmup_steps=0,
    beta=0.0,
    temperature=1.0,
    prompts=2,
    generations=4,
    batch_size=4,
    iterations=1,
    max_steps=4,
    eval_every=2,
    patience=9,
    seed=0,
    n_parameters=1000,
    rollout_rows=8,
)
SAMPLING = Sampling(max_tokens=6)
START = Look(step=0, validation=accuracy(0, 4), own=Cost(), cost=Cost())


def questions(base: Path, n: int = 6) -> Questions:
    problem = load_problem(ProblemConfig(name="largest_number", options={"below": 30, "count": 2}))
    template = PromptTemplate.from_folder(base)
    examples = tuple(problem.examples(n, seed=5))
    return Questions(examples, tuple(str(template.render(problem.messages(example))) for example in examples))


def digits(texts: Sequence[str], examples: Sequence[Example]) -> list[float]:
    """The share of a completion's characters that are digits."""
    return [sum(letter.isdigit() for letter in text) / max(1, len(text)) for text in texts]


def marker(base: Path, asked: Questions) -> Callable[[Any], ExamMark]:
    """An exam that is a function of the weights."""
    tokenizer = load_tokenizer(base)
    read = tuple(map(len, prompt_ids(tokenizer, asked.prompts[:4])))

    def mark(model: Any) -> ExamMark:
        engine = TransformersEngine.over(model, tokenizer, 4)
        answers = engine.generate(asked.prompts[:4], SAMPLING)
        points = [round(1000 * share) for share in digits([each.text for each in answers], asked.examples[:4])]
        right, squares = sum(each == 1000 for each in points), sum(each**2 for each in points)
        found = accuracy(right, len(points), sum(points), squares)
        return ExamMark(found, read, tuple(each.n_tokens for each in answers))

    return mark


def run(base: Path, folder: Path, settings: GrpoSettings, budget: Allowance | None = None, **told: Any) -> Any:
    asked = questions(base)
    return Course(base, asked, digits, SAMPLING, marker(base, asked), START, folder, settings, budget).run(**told)


def without_time(found: GrpoTraining) -> dict[str, Any]:
    """All of it that does not depend on how fast the machine is."""
    looks = [look.model_dump(exclude={"own": {"engine_s"}, "cost": {"engine_s"}}) for look in found.looks]
    lines = [
        {name: value for name, value in line.values.items() if "engine_s" not in name and "time" not in name}
        for line in found.lines
    ]
    return {
        **found.model_dump(exclude={"looks": True, "lines": True, "cost": {"engine_s"}}),
        "looks": looks,
        "lines": lines,
    }


def test_it_is_trained_on_the_scored_prompts_token_for_token_and_decodes_as_a_run_does(
    tiny_model: Path, tmp_path: Path
) -> None:
    asked, seen = questions(tiny_model), []

    def reward(texts: Sequence[str], examples: Sequence[Example]) -> list[float]:
        seen.extend(zip(texts, examples, strict=True))
        return digits(texts, examples)

    sampling = Sampling(max_tokens=12, stop=("e",))
    meter = CostMeter(1000)
    training = Course(tiny_model, asked, reward, sampling, marker(tiny_model, asked), START, tmp_path, SETTINGS, None)
    trainer = training.trainer(meter, [])
    [batch, *_] = trainer.get_train_dataloader()
    rows = [row["row"] for row in batch]
    assert rows[0] == rows[3] != rows[4] == rows[7]  # two groups of four
    found = trainer._generate_and_score_completions(batch)
    expected = prompt_ids(load_tokenizer(tiny_model), [asked.prompts[row] for row in rows])
    prompts = [ids[mask.bool()].tolist() for ids, mask in zip(found["prompt_ids"], found["prompt_mask"], strict=True)]
    assert prompts == expected
    tokenizer = load_tokenizer(tiny_model)
    for (text, example), ids, mask, row in zip(
        seen, found["completion_ids"], found["completion_mask"], rows, strict=True
    ):
        assert example == asked.examples[row]
        whole = tokenizer.decode(ids[mask.bool()], skip_special_tokens=True)
        assert text == whole.partition("e")[0]  # the string that ends it is learned, but not judged
    assert any("e" in tokenizer.decode(ids) for ids in found["completion_ids"])
    rewards = torch.tensor(digits([text for text, _ in seen], asked.examples)).view(2, 4)
    advantages = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    assert torch.allclose(found["advantages"].view(2, 4), advantages, atol=1e-4)


@pytest.mark.parametrize(("beta", "iterations"), [(0.0, 1), (0.1, 2)])
def test_every_token_that_passes_through_the_model_is_counted_once_a_pass(
    tiny_model: Path, tmp_path: Path, beta: float, iterations: int
) -> None:
    settings = replace(SETTINGS, beta=beta, iterations=iterations)
    asked = questions(tiny_model)
    _, found = run(tiny_model, tmp_path, settings)
    lengths = list(map(len, prompt_ids(load_tokenizer(tiny_model), asked.prompts)))
    n_samplings = settings.max_steps // iterations
    sampled = [lengths[row] for row in asked.order(settings.prompts * n_samplings, settings.seed)]
    prompts, n = settings.generations * sum(sampled), settings.n_rollouts * n_samplings
    # No answer of this model ends before its sixth token.
    new, sequences = 6 * n, prompts + 6 * n
    looks = 2
    # The older policy, where a sample is learned from twice, and the reference.
    n_scorings = (iterations > 1) + (beta > 0)
    read = prompts + n_scorings * sequences + looks * sum(lengths[:4])
    assert found.cost.model_dump(exclude={"engine_s"}) == Cost(
        n_generated=new + looks * 4 * 6,
        n_read=read,
        n_trained=iterations * sequences,
        n_forward=(1 + n_scorings + iterations) * n + looks * 4,
        n_backward=iterations * n,
        flops=flops_of(1000, n_read_or_generated=read + new + looks * 4 * 6, n_trained=iterations * sequences),
    ).model_dump(exclude={"engine_s"})
    assert found.cost.engine_s > 0
    assert [look.cost for look in found.looks] == sorted((look.cost for look in found.looks), key=lambda c: c.flops)
    assert found.looks[-1].cost == found.cost
    assert found.lines[-1].values["cost/tokens"] == found.cost.n_tokens - found.looks[-1].own.n_tokens


def test_it_ends_with_the_step_after_which_a_look_would_go_beyond_the_budget(tiny_model: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, max_steps=30, eval_every=10)
    _, whole = run(tiny_model, tmp_path / "whole", replace(settings, max_steps=3))
    own = whole.looks[-1].own
    start = START.model_copy(update={"own": own})
    budget = Allowance("tokens", whole.cost.n_tokens)
    asked = questions(tiny_model)
    _, found = Course(
        tiny_model, asked, digits, SAMPLING, marker(tiny_model, asked), start, tmp_path / "cut", settings, budget
    ).run()
    assert (found.n_steps, found.ended) == (3, BUDGET_SPENT)
    assert found.cost.n_tokens == whole.cost.n_tokens
    assert [look.step for look in found.looks] == [0, 3]


@pytest.mark.parametrize(
    ("unit", "cost"),
    [("tokens", Cost(n_read=3, n_trained=7)), ("flops", Cost(flops=10)), ("seconds", Cost(engine_s=10))],
)
def test_a_budget_counts_what_it_is_about(unit: Any, cost: Cost) -> None:
    assert Allowance(unit, 10).is_spent(cost)
    assert not Allowance(unit, 10.5).is_spent(cost)
    assert not Allowance(unit, 1).is_spent(Cost())


def test_the_best_step_is_kept_and_patience_ends_it(tiny_model: Path, tmp_path: Path) -> None:
    def best_at(points: list[int], folder: Path) -> tuple[Path | None, GrpoTraining]:
        given = iter(points)
        return Course(
            tiny_model,
            questions(tiny_model),
            digits,
            SAMPLING,
            lambda model: ExamMark(accuracy(next(given), 10), (1,), (1,)),
            START.model_copy(update={"validation": accuracy(5, 10)}),
            folder,
            replace(SETTINGS, max_steps=30, patience=2, eval_every=1),
            None,
        ).run()

    best, found = best_at([4, 9, 9, 8], tmp_path / "a")
    assert best is not None
    assert (best.name, found.best_step, found.n_steps, found.ended) == ("checkpoint-2", 2, 4, OUT_OF_PATIENCE)
    assert (best / "adapter_model.safetensors").is_file()
    assert sorted(path.name for path in (tmp_path / "a").glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    # Nothing is done again once it has ended.
    assert best_at([], tmp_path / "a") == (best, found)
    # A base that nothing beats stays.
    assert best_at([4, 4], tmp_path / "b")[0] is None


def _train_and_die(base: Path, folder: Path, settings: GrpoSettings, kill_at_look: int, kill_at_step: int) -> None:
    """Train in a process of its own and kill it with SIGKILL at a look, or when a step is logged."""
    torch.set_num_threads(1)
    asked = questions(base)
    mark, looks = marker(base, asked), 0

    def take(model: Any) -> ExamMark:
        nonlocal looks
        looks += 1
        if looks == kill_at_look:
            os.kill(os.getpid(), signal.SIGKILL)
        return mark(model)

    def tell(what: Line | Look) -> None:
        if isinstance(what, Line) and what.step == kill_at_step:
            os.kill(os.getpid(), signal.SIGKILL)

    Course(base, asked, digits, SAMPLING, take, START, folder, settings, None).run(tell)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "iterations"), [("lora", 1), ("full", 2)])
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    tiny_model: Path, tmp_path: Path, method: Any, iterations: int
) -> None:
    settings = replace(SETTINGS, method=method, iterations=iterations, max_steps=8, learning_rate=1e-3)
    steps: list[int] = []

    def whole(folder: Path) -> tuple[str, Any]:
        steps.clear()

        def tell(what: Line | Look) -> None:
            if isinstance(what, Look):
                steps.append(what.step)

        _, found = run(tiny_model, folder, settings, tell=tell)
        checkpoint = folder / "checkpoint-8"
        write_student(tiny_model, checkpoint, folder / "model", method, "card")
        return digest(folder / "model" / "model.safetensors"), without_time(found)

    undisturbed = whole(tmp_path / "undisturbed")
    assert steps == [2, 4, 6, 8]
    for name, (at_look, at_step), left in (
        ("at a look", (3, 0), [6, 8]),
        ("in a step", (0, 5), [6, 8]),
        ("at the last look", (4, 0), [8]),
    ):
        folder = tmp_path / name
        killed = multiprocessing.get_context("spawn").Process(
            target=_train_and_die, args=(tiny_model, folder, settings, at_look, at_step)
        )
        killed.start()
        killed.join()
        assert killed.exitcode == -signal.SIGKILL
        (folder / "checkpoint-99").mkdir()  # as if killed while the newest was being written
        assert whole(folder) == undisturbed, name
        assert steps == left


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "learning_rate"), [("lora", 1e-2), ("full", 3e-3)])
def test_it_learns(tiny_model: Path, tmp_path: Path, method: Any, learning_rate: float) -> None:
    settings = replace(
        SETTINGS, method=method, learning_rate=learning_rate, prompts=4, generations=8, batch_size=32, max_steps=40
    )
    _, found = run(tiny_model, tmp_path, replace(settings, eval_every=20))
    rewards = [line.values["reward"] for line in found.lines]
    first, last = sum(rewards[:5]) / 5, sum(rewards[-5:]) / 5
    assert last > first + 0.4
    assert found.looks[-1].validation.total > 3000
    assert found.ended == ALL_STEPS
