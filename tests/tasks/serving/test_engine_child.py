"""An engine in a process of its own answers as one in this process, and its loss is an error."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec, build_engine
from thickets.tasks.noise import Perturbation
from thickets.tasks.serving.engine_child import EngineChild
from thickets.tasks.serving.questions import EngineLostError
from thickets.tasks.types import Candidate, Sampling

PROMPTS, SAMPLING = ["1 + 1 =", "What is 3 + 4?"], Sampling(max_tokens=6)


def test_it_answers_as_an_engine_here_refuses_what_that_refuses_and_can_be_lost(tiny_model: Path) -> None:
    spec = EngineSpec("transformers", tiny_model, Perturbation(), device="cpu")
    child, here = EngineChild(spec), build_engine(spec)
    try:
        for weights in (None, Candidate(7, 0.1), Candidate(8, 0.1), None):
            for engine in (child, here):
                engine.load(weights)
                engine.prepare(Candidate(9, 0.1))
            assert child.generate(PROMPTS, SAMPLING) == here.generate(PROMPTS, SAMPLING)
        with pytest.raises(InputError, match="this model holds at most 512"):
            child.generate(["x" * 600], SAMPLING)
        assert child.generate(PROMPTS, SAMPLING) == here.generate(PROMPTS, SAMPLING)
        process = psutil.Process(child.pid)
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(EngineLostError, match="ended by SIGKILL"):
            child.generate(PROMPTS, SAMPLING)
        assert not process.is_running()
    finally:
        child.close()
        here.close()


def test_one_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        EngineChild(EngineSpec("no such kind", tmp_path, Perturbation(), device="cpu"))


def test_one_that_takes_too_long_is_killed(tiny_model: Path) -> None:
    spec = EngineSpec("transformers", tiny_model, Perturbation(), device="cpu")
    with pytest.raises(EngineLostError, match=r"it did not answer within 0\.2 s; its process was ended by SIGKILL"):
        EngineChild(spec, start_within_s=0.2)
