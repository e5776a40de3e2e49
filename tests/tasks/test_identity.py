from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from thickets.storage.fingerprint import fingerprint
from thickets.tasks.engines import EngineSpec, VllmOptions
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.noise import Perturbation
from thickets.tasks.problems import Problem, ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.scoring.identity import answer_identity, judgement_identity, run_id
from thickets.tasks.scoring.units import make_blocks
from thickets.tasks.types import Sampling

SPEC = EngineSpec("transformers", Path("model"), Perturbation(), device="cpu")


class Tokenizer:
    chat_template = "{{ messages }}"


class Rendering:
    """Renders a prompt as the text of its turns."""

    def render(self, messages) -> str:
        return "|".join(f"{message['role']}: {message['content']}" for message in messages)


def identity(**changes) -> str:
    problem = load_problem(ProblemConfig(name="largest_number", **changes.pop("problem", {})))
    tokenizer = Tokenizer()
    tokenizer.chat_template = changes.pop("chat_template", Tokenizer.chat_template)
    sizes = {"selection": 3, "validation": 3, "test": 3, "seed": 0} | changes.pop("data", {})
    values = {
        "base_sha256": "a" * 64,
        "engine": SPEC,
        "problem": problem,
        "template": PromptTemplate(tokenizer),
        "sampling": Sampling(8),
        "examples_per_block": 4,
        **changes,
    }
    splits = draw_splits(problem, **sizes)
    size = values["examples_per_block"]
    blocks = [block for split in splits for block in make_blocks(split, problem, Rendering(), size)]
    return fingerprint(answer_identity(blocks=blocks, **values))


@pytest.mark.parametrize(
    "changes",
    [
        {"base_sha256": "b" * 64},
        {"engine": replace(SPEC, kind="vllm")},
        {"engine": replace(SPEC, dtype="float32")},
        {"engine": replace(SPEC, device="cuda:1")},
        {"engine": replace(SPEC, batch_size=7)},
        {"engine": replace(SPEC, perturbation=Perturbation("rademacher"))},
        {"engine": replace(SPEC, perturbation=Perturbation(exclude=("*norm*",)))},
        {"engine": replace(SPEC, perturbation=Perturbation(scale=(("*norm*", 0.5),)))},
        {"problem": {"instruction": "{question}"}},
        {"data": {"test": 4}},
        {"data": {"seed": 1}},
        {"chat_template": "other"},
        {"sampling": Sampling(9)},
        {"sampling": Sampling(8, ("\n",))},
        {"examples_per_block": 3},
    ],
    ids=str,
)
def test_what_can_change_an_answer_changes_the_identity(changes: dict) -> None:
    assert identity(**changes) != identity()


def test_the_options_of_vllm_count_where_vllm_answers() -> None:
    vllm = replace(SPEC, kind="vllm", max_length=100)
    changes = [{"vllm": VllmOptions(eager=False)}, {"vllm": VllmOptions(prefix_caching=False)}, {"max_length": 101}]
    assert len({identity(engine=replace(vllm, **change)) for change in [{}, *changes]}) == 4
    assert len({identity(engine=replace(SPEC, **change)) for change in [{}, *changes]}) == 1


@pytest.mark.parametrize(
    "engine",
    [
        replace(SPEC, threads=7),
        replace(SPEC, model_path=Path("elsewhere")),
        replace(SPEC, prefetch=False),
        replace(SPEC, base_copy="host"),
        replace(SPEC, perturbation=Perturbation(scale=(("*norm*", 1.0),))),
    ],
    ids=str,
)
def test_what_cannot_change_an_answer_does_not(engine: EngineSpec) -> None:
    assert identity(engine=engine) == identity()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_settings_change_no_answer(device: str) -> None:
    vllm = replace(SPEC, kind="vllm", device=device)
    less = replace(vllm, base_copy="host", vllm=VllmOptions(memory_fraction=0.5))
    assert identity(engine=less) == identity(engine=vllm)


def test_runs_of_vllm_on_the_cpu_keep_the_ids_that_they_had() -> None:
    """The share of a GPU's memory was part of them once, as 0.8."""
    problem = load_problem(ProblemConfig(name="largest_number"))
    settings = {
        "base_sha256": "a" * 64,
        "problem": problem,
        "blocks": (),
        "template": PromptTemplate(Tokenizer()),
        "sampling": Sampling(8),
        "examples_per_block": 4,
    }
    own = {"eager", "prefix_caching", "block_size", "memory_fraction", "tensor_parallel", "max_length"}
    for device, expected in (("cpu", own), ("cuda", own - {"memory_fraction"})):
        spec = replace(SPEC, kind="vllm", device=device, max_length=256)
        found = answer_identity(engine=spec, **settings)["engine"]
        assert found.keys() == expected | {"kind", "device", "dtype", "batch_size", "libraries"}
        assert found.get("memory_fraction", 0.8) == 0.8


def test_what_a_problem_is_called_does_not_matter() -> None:
    assert identity(problem={"label": "Warm-up"}) == identity()


def questions(folder: Path, verifier: str, *, answer: str = "3", **row: str) -> Problem:
    """A problem from a file of three questions."""
    rows = [{"question": f"{n} + 1?", "answer": answer, **row} for n in range(3)]
    (folder / "q.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    path = str(folder / "q.jsonl")
    return load_problem(ProblemConfig(name="file", path=path, verifier=verifier, instruction="{question} Answer:"))


def test_verifier_and_gold_answers_change_the_judgement_alone(tmp_path: Path) -> None:
    def both(problem: Problem, reasoning: tuple[str, str] | None = None) -> tuple[str, str]:
        splits = draw_splits(problem, selection=1, validation=1, test=1, seed=0)
        blocks = [block for split in splits for block in make_blocks(split, problem, Rendering(), 4)]
        template = PromptTemplate(Tokenizer())
        answers = answer_identity(
            base_sha256="a" * 64,
            engine=SPEC,
            problem=problem,
            blocks=blocks,
            template=template,
            sampling=Sampling(8),
            examples_per_block=4,
        )
        return fingerprint(answers), fingerprint(judgement_identity(Judge(problem, reasoning), splits))

    found = [
        both(questions(tmp_path, "numeric")),
        both(questions(tmp_path, "exact")),
        both(questions(tmp_path, "numeric", answer="4")),
        both(questions(tmp_path, "numeric"), ("<a>", "</a>")),
    ]
    assert len({answers for answers, _ in found}) == 1
    assert len({judgement for _, judgement in found}) == 4
    assert both(questions(tmp_path, "numeric")) == found[0]


def test_which_card_of_a_machine_is_used_does_not_matter() -> None:
    assert identity(engine=replace(SPEC, device="cuda:1")) == identity(engine=replace(SPEC, device="cuda:0"))


def test_another_card_answers_otherwise_and_a_run_without_one_is_as_it_was() -> None:
    on_card = [replace(SPEC, device="cuda", card=card) for card in ("NVIDIA H100", "NVIDIA A100", None)]
    assert len({identity(engine=engine) for engine in on_card}) == 3
    assert identity(engine=replace(SPEC, memory_share=0.5)) == identity()


def test_a_run_is_named_by_what_it_selects_from_and_how() -> None:
    names = {
        run_id("a", "f", "v", {"size": 1}, {"k": [1]}),
        run_id("a", "f", "v", {"size": 2}, {"k": [1]}),
        run_id("a", "f", "v", {"size": 1}, {"k": [2]}),
        run_id("a", "g", "v", {"size": 1}, {"k": [1]}),
        run_id("a", "f", "w", {"size": 1}, {"k": [1]}),
        run_id("b", "f", "v", {"size": 1}, {"k": [1]}),
        run_id("a", "f", "v", {"size": 1}, {"k": [1]}, {"z": 1.64}),
        run_id("a", "f", "v", {"size": 1}, {"k": [1]}, {"z": 1.0}),
    }
    assert len(names) == 8
    assert run_id("a", "f", "v", {"size": 1}, {"k": [1]}) in names
