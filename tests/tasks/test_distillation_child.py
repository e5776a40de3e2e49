"""Training in a process of its own: what it trains, which GPUs it sees, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.patience import PATIENCE_S
from tests.tasks.test_distillation_training import SETTINGS, digest, rising, texts
from thickets.storage.errors import InputError, OutOfMemoryError, TransientError
from thickets.storage.models.base import resolve_model
from thickets.tasks.distillation import training
from thickets.tasks.distillation.child import run_in_child
from thickets.tasks.distillation.jobs import BaseName, ExamJob, OnPoint, PerplexityJob, TrainingJob
from thickets.tasks.distillation.perplexity import perplexity
from thickets.tasks.distillation.results import ValidationPoint
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.scoring.units import make_blocks
from thickets.tasks.types import Sampling
from thickets.tasks.verifiers.thought import THOUGHT_TAGS, Thoughts

ROOT = Path(__file__).parents[2]
PROBLEM = ProblemConfig(name="largest_number", options={"below": 30, "count": 2})

# A machine with eight GPUs, as PyTorch sees it: those of CUDA_VISIBLE_DEVICES. They cannot compute, so that the
# trainer, which takes as many as there are, falls back to the processor.
EIGHT_GPUS = """
import importlib.abc, importlib.machinery, os, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "torch.cuda":
            return None
        sys.meta_path.remove(self)
        found = importlib.machinery.PathFinder.find_spec(name, path)
        load = found.loader.exec_module
        def exec_module(module):
            load(module)
            module.device_count = lambda: len(os.environ.get("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7").split(","))
        found.loader.exec_module = exec_module
        return found

sys.meta_path.insert(0, Finder())
"""


def job_of(base: Path, folder: Path, **settings: Any) -> TrainingJob:
    problem = load_problem(PROBLEM)
    splits = draw_splits(problem, selection=4, validation=6, test=4, seed=0)
    found = resolve_model(str(base))
    return TrainingJob(
        base=base,
        base_name=BaseName(str(base), None, found.sha256, False),
        target=folder / "student",
        work=folder / "work",
        texts=tuple(texts(base)),
        exam=ExamJob(
            tuple(make_blocks(splits.validation, problem, PromptTemplate.from_folder(base), 3)),
            PROBLEM,
            Thoughts(*THOUGHT_TAGS),
            Sampling(4),
            5,
        ),
        settings=replace(SETTINGS, max_steps=6, **settings),
        card="card",
    )


def children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "thickets.tasks.distillation.child_main" in child.cmdline()
    ]


@dataclass(frozen=True)
class Failing:
    """A job that ends in a way of its own."""

    how: str

    def run(self, on_point: OnPoint) -> None:
        if self.how == "refuses":
            raise InputError("distillation.rank: found 0")
        if self.how == "raises":
            raise ValueError("two\nlines")
        if self.how == "memory":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        on_point(ValidationPoint(step=0, n_correct=os.getpid(), n=1), None)
        while True:
            time.sleep(0.1)

    def elsewhere(self) -> Failing:
        return self


@pytest.mark.parametrize(
    ("how", "kind", "line"),
    [
        pytest.param("refuses", InputError, "distillation.rank: found 0", marks=pytest.mark.slow),
        ("raises", TransientError, "training: the process that trains failed with ValueError: two lines"),
        pytest.param(
            "memory",
            OutOfMemoryError,
            "training: the GPU ran out of memory; lower batch_size in its section",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_a_child_raises_is_one_line_here(how: str, kind: type[Exception], line: str) -> None:
    with pytest.raises(kind) as raised:
        run_in_child(Failing(how), lambda point, loss: None, {"PYTHONPATH": f"{ROOT}{os.pathsep}{PATH}"})
    assert type(raised.value) is kind
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)
    assert children() == []


PATH = os.pathsep.join(path or os.getcwd() for path in sys.path)


def test_a_killed_child_is_one_line_and_may_be_tried_again() -> None:
    with pytest.raises(TransientError, match=r"ended by SIGKILL while it trained; .* goes on from the last checkpoint"):
        run_in_child(Failing("runs"), lambda point, loss: os.kill(point.n_correct, signal.SIGKILL), {})
    assert children() == []


@pytest.mark.slow
def test_ctrl_c_leaves_no_child() -> None:
    pids: list[int] = []

    def interrupt(point: ValidationPoint, loss: float | None) -> None:
        pids.append(point.n_correct)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_in_child(Failing("runs"), interrupt, {})
    finally:
        signal.signal(signal.SIGINT, before)
    assert not psutil.pid_exists(pids[0])


@pytest.mark.slow
def test_a_child_ends_with_a_parent_that_is_killed() -> None:
    program = (
        "from tests.tasks.test_distillation_child import Failing\n"
        "from thickets.tasks.distillation.child import run_in_child\n"
        "run_in_child(Failing('runs'), lambda point, loss: print(point.n_correct, flush=True), {})\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=PATIENCE_S)
    assert alive == []


@pytest.mark.slow
def test_a_child_trains_what_this_process_would(tiny_model: Path, tmp_path: Path) -> None:
    steps: list[int] = []
    found = run_in_child(
        job_of(tiny_model, tmp_path / "there"), lambda point, loss: steps.append(point.step), {"OMP_NUM_THREADS": "1"}
    )
    assert steps == [0, 3, 6]
    here = job_of(tiny_model, tmp_path / "here").run(lambda point, loss: None)
    assert found.model_dump(exclude={"train_s"}) == here.model_dump(exclude={"train_s"})
    weights = [digest(tmp_path / where / "student" / "model.safetensors") for where in ("there", "here")]
    assert weights[0] == weights[1]
    text = "The road to the mill ran beside the river."
    of_there = run_in_child(PerplexityJob(tiny_model, None, text, "cpu", False), lambda point, loss: None, {})
    assert of_there == pytest.approx(perplexity(tiny_model, text), rel=1e-6)


@pytest.mark.slow
def test_a_machine_with_eight_gpus_trains_on_the_one_that_it_is_told(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Transformers counts: eight in this process, where TRL refuses, and one in the child."""
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "sitecustomize.py").write_text(EIGHT_GPUS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "machine"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "machine"), *sys.path])
    job = job_of(tiny_model, tmp_path, device="cuda")
    every: dict[str, str] = {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}
    with pytest.raises(TransientError, match=r"does not support.*DataParallel"):
        run_in_child(job, lambda point, loss: None, every)
    found = run_in_child(job, lambda point, loss: None, {"CUDA_VISIBLE_DEVICES": "5"})
    assert found.n_steps == 6
    assert (tmp_path / "student" / "model.safetensors").is_file()


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_activations_that_are_made_again_train_the_same(tiny_model: Path, tmp_path: Path, method: str) -> None:
    rows, settings = texts(tiny_model), replace(SETTINGS, method=method, max_steps=3)
    losses = [
        training.train(tiny_model, rows, rising(), tmp_path / str(again), replace(settings, checkpointing=again))[1]
        for again in (False, True)
    ]
    assert losses[0].losses == pytest.approx(losses[1].losses, rel=1e-6)


@pytest.mark.slow
def test_products_in_bfloat16_leave_the_weights_in_float32(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    settings = replace(SETTINGS, method="full", max_steps=9)
    found = {}
    for mixed in (False, True):
        best, outcome = training.train(
            tiny_model, texts(tiny_model), rising(), tmp_path / str(mixed), replace(settings, mixed=mixed)
        )
        found[mixed] = outcome.losses
        assert {tensor.dtype for tensor in load_file(best / "model.safetensors").values()} == {torch.float32}
    assert found[True] != found[False]
    assert found[True][9] == pytest.approx(found[False][9], rel=0.05)
