"""What a student is trained on, to the token; that it learns; and that a kill at any moment changes nothing."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny_model import make_tiny_model
from thickets.tasks.distillation import objective, training
from thickets.tasks.distillation.generic import generic_text
from thickets.tasks.distillation.objective import Targets, collect, distribution_loss, mean_distribution
from thickets.tasks.distillation.perplexity import perplexity
from thickets.tasks.distillation.student import write_student
from thickets.tasks.distillation.texts import IGNORED, TrainingText, encode
from thickets.tasks.distillation.training import Exam, TrainingSettings, train
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.tokenizer import load_tokenizer
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.types import Candidate, Sampling

SETTINGS = TrainingSettings(
    method="lora",
    rank=4,
    alpha=8,
    learning_rate=5e-3,
    max_steps=9,
    batch_size=4,
    eval_every=3,
    patience=9,
    seed=0,
)


def texts(base: Path, n: int = 20) -> list[TrainingText]:
    """Questions of two digits and their gold answers."""
    problem = load_problem(ProblemConfig(name="largest_number", options={"below": 30, "count": 2}))
    template = PromptTemplate.from_folder(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    examples = problem.examples(n, seed=5)
    prompts = [template.render(problem.messages(example)) for example in examples]
    return encode(tokenizer, prompts, [example.answer for example in examples])


def rising(correct: list[int] | None = None) -> Exam:
    """An exam whose results are known beforehand: 0 at step 0, or as given."""
    given = iter(correct or range(100))
    return Exam(lambda model: whole(next(given)), 100)


def whole(n_correct: int) -> tuple[int, int]:
    """So many right answers, and none that is right in part."""
    return n_correct, 1000 * n_correct


def loss_exam(rows: list[TrainingText]) -> Exam:
    """An exam that is a function of the weights: how many response tokens the model ranks first."""

    def take(model: Any) -> tuple[int, int]:
        found = 0
        for row in rows:
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([row.input_ids])).logits[0, :-1]
            labels = torch.tensor(row.labels[1:])
            found += int((logits.argmax(-1) == labels).sum())
        return whole(found)

    return Exam(take, sum(row.n_response for row in rows))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("chat", [True, False])
def test_what_is_trained_on_is_the_scored_prompt_the_response_and_one_end_token(tmp_path: Path, chat: bool) -> None:
    base = make_tiny_model(tmp_path / "model", chat=chat)
    tokenizer = AutoTokenizer.from_pretrained(base)
    problem = load_problem(ProblemConfig(name="largest_number"))
    template = PromptTemplate.from_folder(base)
    [example] = problem.examples(1, seed=0)
    prompt = template.render(problem.messages(example))
    [row] = encode(tokenizer, [prompt], ["It is 7."])
    assert tokenizer.decode(row.input_ids) == prompt + "It is 7." + tokenizer.eos_token
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert list(row.input_ids[: len(asked)]) == asked
    assert set(row.labels[: len(asked)]) == {IGNORED}
    assert row.labels[len(asked) :] == row.input_ids[len(asked) :]
    assert row.input_ids.count(tokenizer.eos_token_id) == 1
    assert row.n_response == len("It is 7.") + 1


@pytest.mark.parametrize("with_targets", [False, True])
def test_the_trainer_adds_nothing_to_the_tokens_and_ignores_the_prompt(
    tiny_model: Path, tmp_path: Path, with_targets: bool
) -> None:
    rows = texts(tiny_model, 4)
    targets = None
    if with_targets:
        n = sum(row.n_response for row in rows)
        ids = torch.tensor([[label] for row in rows for label in row.labels if label != IGNORED])
        starts = tuple(int(n) for n in np.cumsum([0, *(row.n_response for row in rows)]))
        targets = Targets(ids.int(), torch.ones(n, 1), starts)
    trainer = training._make_trainer(tiny_model, rows, rising(), tmp_path, SETTINGS, targets, lambda point, loss: None)
    [batch] = list(trainer.get_train_dataloader())
    seen = {
        (tuple(ids[mask.bool()].tolist()), tuple(labels[mask.bool()].tolist()))
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True)
    }
    assert seen == {(row.input_ids, row.labels) for row in rows}
    # The loss is the mean over response tokens, whichever way it is computed: a distribution that names each
    # response's own tokens with certainty is that response.
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    logits = torch.log_softmax(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits, -1)
    counted = batch["labels"][:, 1:] != IGNORED
    expected = -logits[:, :-1].gather(2, batch["input_ids"][:, 1:, None])[..., 0][counted].mean()
    assert trainer.compute_loss(trainer.model, dict(batch)).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_training_lowers_the_loss_and_changes_the_checkpoint(tiny_model: Path, tmp_path: Path, method: str) -> None:
    settings = replace(SETTINGS, method=method, max_steps=12)
    best, found = train(tiny_model, texts(tiny_model), rising(), tmp_path / "checkpoints", settings)
    assert list(found.losses) == [3, 6, 9, 12]
    assert found.losses[12] < 0.9 * found.losses[3]
    assert [point.step for point in found.curve] == [0, 3, 6, 9, 12]
    assert found.best_step == 12
    assert found.n_tokens == round(12 / 5 * sum(len(row.input_ids) for row in texts(tiny_model)))
    write_student(tiny_model, best, tmp_path / "student", method, "card")
    before, after = load_file(tiny_model / "model.safetensors"), load_file(tmp_path / "student" / "model.safetensors")
    assert before.keys() == after.keys()
    assert {name: tensor.dtype for name, tensor in before.items()} == {n: t.dtype for n, t in after.items()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "model.layers.0.mlp.up_proj.weight" in changed
    assert ("model.embed_tokens.weight" in changed) == (method == "full")
    assert sorted(path.name for path in (tmp_path / "student").iterdir()) == sorted(
        [*(path.name for path in tiny_model.iterdir()), "README.md"]
    )


def test_the_step_that_is_best_on_validation_is_kept_and_patience_ends_the_training(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, max_steps=30, patience=2)
    exam = rising([50, 10, 60, 60, 59, 99])  # step 0 first: the base does not count as a checkpoint
    best, found = train(tiny_model, texts(tiny_model), exam, tmp_path / "checkpoints", settings)
    assert best.name == "checkpoint-6"
    assert (found.best_step, found.n_steps) == (6, 12)
    assert [point.n_correct for point in found.curve] == [50, 10, 60, 60, 59]
    assert (best / "adapter_model.safetensors").is_file()


def test_the_last_step_is_examined_wherever_it_falls(tiny_model: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, max_steps=5)
    _, found = train(tiny_model, texts(tiny_model), rising(), tmp_path / "checkpoints", settings)
    assert [point.step for point in found.curve] == [0, 3, 5]
    assert found.best_step == 5


def _train_and_die(base: Path, folder: Path, settings: TrainingSettings, kill_at_look: int) -> None:
    """Train in a process of its own and kill it with SIGKILL at the given look at the validation split."""
    torch.set_num_threads(1)
    rows = texts(base)
    exam, looks = loss_exam(rows[:6]), 0

    def take(model: Any) -> tuple[int, int]:
        nonlocal looks
        looks += 1
        if looks == kill_at_look:
            os.kill(os.getpid(), signal.SIGKILL)
        return exam.take(model)

    train(base, rows, Exam(take, exam.n), folder, settings)


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(tiny_model: Path, tmp_path: Path, method: str) -> None:
    settings = replace(SETTINGS, method=method, max_steps=12)
    rows = texts(tiny_model)
    steps: list[int] = []

    def run(folder: Path) -> tuple[str, Any]:
        best, found = train(
            tiny_model,
            rows,
            loss_exam(rows[:6]),
            folder,
            settings,
            on_point=lambda point, loss: steps.append(point.step),
        )
        write_student(tiny_model, best, folder / "student", method, "card")
        return digest(folder / "student" / "model.safetensors"), found.model_dump(exclude={"train_s"})

    undisturbed = run(tmp_path / "undisturbed")
    assert steps == [0, 3, 6, 9, 12]
    killed = multiprocessing.get_context("spawn").Process(
        target=_train_and_die, args=(tiny_model, tmp_path / "killed", settings, 4)
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    # As if the kill had come while the newest checkpoint was being written.
    (tmp_path / "killed" / "checkpoint-9").mkdir()
    steps.clear()
    assert run(tmp_path / "killed") == undisturbed
    assert steps == [9, 12]  # steps 0 to 6 were not done again
    steps.clear()
    assert train(tiny_model, rows, rising(), tmp_path / "killed", settings)[1].n_steps == 12
    assert steps == []  # a finished training is not touched


def test_a_training_that_ran_out_of_patience_stays_finished(tiny_model: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, max_steps=30, patience=1)
    first = train(tiny_model, texts(tiny_model), rising([0, 9, 3]), tmp_path, settings)
    looked: list[Callable[..., Any]] = []
    again = train(
        tiny_model, texts(tiny_model), Exam(lambda model: looked.append(model) or whole(99), 100), tmp_path, settings
    )
    assert looked == []
    assert again[0] == first[0]
    assert again[1].n_steps == first[1].n_steps == 6


def test_the_merged_student_is_the_base_with_the_adapters_product_rounded_once(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "model", dtype=torch.bfloat16)
    best, _ = train(base, texts(base), rising(), tmp_path / "checkpoints", replace(SETTINGS, max_steps=3))
    write_student(base, best, tmp_path / "student", "lora", "card")
    adapters = load_file(best / "adapter_model.safetensors")
    name = "model.layers.1.mlp.down_proj"
    a, b = (adapters[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    weight = load_file(base / "model.safetensors")[f"{name}.weight"]
    expected = (weight.float() + 2.0 * (b @ a)).to(torch.bfloat16)
    found = load_file(tmp_path / "student" / "model.safetensors")[f"{name}.weight"]
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    assert not torch.equal(found, weight)


def test_the_distribution_loss_is_what_numpy_computes() -> None:
    logits = np.array([[1.0, 2.0, 0.5, -1.0], [0.0, 0.0, 3.0, 1.0]])
    ids, q = np.array([[1, 0], [2, 3]]), np.array([[0.7, 0.3], [0.6, 0.4]])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -np.mean([sum(q[t, j] * log_p[t, ids[t, j]] for j in range(2)) for t in range(2)])
    found = distribution_loss(torch.tensor(logits), torch.tensor(ids), torch.tensor(q))
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_the_mean_of_truncated_distributions_adds_up_what_several_experts_name() -> None:
    parts = [
        {"ids": torch.tensor([[5, 2]]), "probabilities": torch.tensor([[0.5, 0.25]])},
        {"ids": torch.tensor([[2, 7]]), "probabilities": torch.tensor([[0.6, 0.3]])},
    ]
    ids, q = mean_distribution(parts, 2)
    assert ids.tolist() == [[2, 5]]  # (0.25 + 0.6) / 2 and 0.5 / 2; 7 has 0.15 and goes
    assert q[0].tolist() == pytest.approx([0.425 / 0.675, 0.25 / 0.675])
    assert mean_distribution(parts, 9)[1].sum().item() == pytest.approx(1.0)


def test_targets_are_the_mean_of_what_the_experts_expect_at_each_token(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = texts(tiny_model, 5)
    experts = [Candidate(1, 0.1), Candidate(2, 0.2)]
    engine = TransformersEngine(EngineSpec("transformers", tiny_model, Perturbation(), device="cpu", prefetch=False))
    done: list[int] = []
    targets = collect(engine, experts, rows, tmp_path, top=200, batch_size=2, on_expert=done.append)
    assert done == [1, 2]
    # One row by itself, with no padding, no truncation and all logits: as a model reads it.
    row, expected = rows[3], 0.0
    for expert in experts:
        engine.load(expert)
        with torch.inference_mode():
            logits = engine.model(input_ids=torch.tensor([row.input_ids])).logits[0]
        expected = expected + torch.softmax(logits[-row.n_response - 1 : -1], -1) / 2
    ids, q = targets.of_rows([3], torch.device("cpu"))
    found = torch.zeros_like(expected).scatter_add(1, ids, q)  # a place that nobody fills is token 0 with 0
    assert torch.allclose(found, expected, atol=1e-5)
    monkeypatch.setattr(objective, "_TOKENS_AT_ONCE", 2)
    in_parts = collect(engine, experts, rows, tmp_path, top=200, batch_size=2)
    assert torch.equal(in_parts.ids, targets.ids)
    assert torch.equal(in_parts.probabilities, targets.probabilities)
    # The files of a finished expert are not made again.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / f"{experts[1].id}.safetensors").unlink()
    again = collect(engine, experts, rows, tmp_path, top=200, batch_size=5)
    kept = tmp_path / f"{experts[0].id}.safetensors"
    assert kept.stat().st_mtime_ns == before[kept]
    assert torch.allclose(again.probabilities, targets.probabilities, atol=1e-6)
    engine.close()


def test_a_student_of_the_logits_comes_closer_to_them(tiny_model: Path, tmp_path: Path) -> None:
    rows = texts(tiny_model, 8)
    engine = TransformersEngine(EngineSpec("transformers", tiny_model, Perturbation(), device="cpu", prefetch=False))
    targets = collect(engine, [Candidate(1, 0.1), Candidate(2, 0.1)], rows, tmp_path / "t", top=20, batch_size=4)
    engine.close()
    settings = replace(SETTINGS, max_steps=12, batch_size=8)
    _, found = train(tiny_model, rows, rising(), tmp_path / "checkpoints", settings, targets=targets)
    assert found.losses[12] < found.losses[3]


def test_a_live_model_answers_as_an_engine_of_its_checkpoint_does(tiny_model: Path) -> None:
    problem = load_problem(ProblemConfig(name="largest_number", options={"below": 30, "count": 2}))
    template = PromptTemplate.from_folder(tiny_model)
    prompts = [template.render(problem.messages(example)) for example in problem.examples(7, seed=1)]
    engine = TransformersEngine(EngineSpec("transformers", tiny_model, Perturbation(), device="cpu", batch_size=3))
    live = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    over = TransformersEngine.over(live, AutoTokenizer.from_pretrained(tiny_model), 3)
    assert over.generate(prompts, Sampling(8)) == engine.generate(prompts, Sampling(8))


def test_perplexity_is_what_the_definition_says_and_a_broken_model_has_more(tiny_model: Path, tmp_path: Path) -> None:
    text = "The road to the mill ran beside the river."
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_model), AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])[None]
    loss = float(model(input_ids=ids, labels=ids).loss)
    assert perplexity(tiny_model, text) == pytest.approx(np.exp(loss), rel=1e-4)
    broken = make_tiny_model(tmp_path / "broken")
    model.lm_head.weight.data *= 4
    model.save_pretrained(broken)
    assert perplexity(broken, text) > 2 * perplexity(tiny_model, text)


def test_perplexity_begins_a_text_as_the_tokenizer_does(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"add_bos_token": True}))
    text = "The road to the mill ran beside the river."
    tokenizer, model = load_tokenizer(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]])[None]
    loss = float(model(input_ids=ids, labels=ids).loss.detach())
    assert perplexity(folder, text) == pytest.approx(np.exp(loss), rel=1e-4)
    assert perplexity(folder, text) != pytest.approx(perplexity(tiny_model, text), rel=1e-4)


def test_the_generic_text_is_there_and_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    from thickets.storage.errors import InputError

    assert 1_900 < len(generic_text(None).split()) < 2_300
    (tmp_path / "mine.txt").write_text("some words of mine")
    assert generic_text(tmp_path / "mine.txt") == "some words of mine"
    with pytest.raises(InputError, match=r"distillation.generic_text: cannot read .*nowhere"):
        generic_text(tmp_path / "nowhere.txt")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(InputError, match=r"holds 0 words"):
        generic_text(tmp_path / "empty.txt")
