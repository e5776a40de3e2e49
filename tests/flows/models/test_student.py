"""A model of its own in MLflow: an ordinary checkpoint that is asked like the run it comes from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest
import torch
import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.flows.command_line import refused
from tests.flows.models.helpers import stored
from tests.tiny_model import make_tiny_model
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home
from thickets.storage.tracking.models import process_uri
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.types import Example


def test_a_student_is_an_ordinary_checkpoint(client: Any, checkpoint: Path, student: str) -> None:
    folder = Path(client.get_logged_model(student).artifact_location.removeprefix("file://"))
    ours, theirs = (AutoModelForCausalLM.from_pretrained(path) for path in (folder / "model", checkpoint))
    assert ours.dtype == theirs.dtype
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    same = AutoTokenizer.from_pretrained(folder / "model")
    assert same.chat_template == AutoTokenizer.from_pretrained(checkpoint).chat_template
    pipeline = mlflow.transformers.load_model(str(folder))
    assert torch.equal(next(pipeline.model.parameters()), next(theirs.parameters()))
    about = (folder / "MLmodel").read_text()
    assert "signature" in about
    assert str(checkpoint) not in about
    # The hub is asked neither for a card nor for a licence of something that is not there.
    assert (folder / "model_card.md").read_text().strip() in (checkpoint / "README.md").read_text()
    assert (folder / "LICENSE.txt").read_text().startswith("Made from ")
    with pytest.raises(HFValidationError):
        validate_repo_id(yaml.safe_load(about)["flavors"]["transformers"]["source_model_name"])
    loaded = mlflow.pyfunc.load_model(str(folder))
    [asked] = loaded.input_example["messages"]
    assert asked["content"].endswith("Reply with just the number.")  # put as the run puts it
    [reply] = loaded.predict(loaded.input_example)
    assert reply["choices"][0]["message"]["role"] == "assistant"


def test_a_student_and_a_checkpoint_are_asked_like_the_run(
    thickets, home: Home, run: RunSummary, checkpoint: Path, student: str, new_data: Callable[..., str]
) -> None:
    cast, questions = stored(home, run)
    expected = cast.filter(pl.col("rank") == 1)
    data = new_data(questions.select("question", "answer").to_dicts())
    for arguments in ([f"models:/{student}"], [str(checkpoint), "--like", run.run_id]):
        model, *like = arguments
        found = json.loads(thickets("evaluate", model, data, "--base", "--json", *like)[1])
        assert found["k"] == 1
        assert found["accuracy"]["n_correct"] == expected["correct"].sum()
        assert found["base"]["n_correct"] == run.evaluation.base.n_correct
        asked = json.loads(thickets("ask", model, questions["question"][0], "--json", *like)[1])
        assert asked["answer"] == expected["answer"][0]
    assert refused(thickets("ask", str(checkpoint), "?")).startswith("--like: missing")


def test_another_model_is_asked_in_its_own_form_of_prompt(thickets, run: RunSummary, tmp_path: Path) -> None:
    plain = make_tiny_model(tmp_path / "plain", seed=3, chat=False)
    question = "Which is the largest number: 3 or 4?"
    asked = json.loads(thickets("ask", str(plain), question, "--like", run.run_id, "--json")[1])
    prompt = f"<s>Question: {question} Reply with just the number.\nAnswer:"
    tokenizer = AutoTokenizer.from_pretrained(plain)
    tokens = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(plain)
    written = model.generate(**tokens, max_new_tokens=8, do_sample=False)[0, tokens["input_ids"].shape[1] :]
    text = tokenizer.decode(written, skip_special_tokens=True).split("\nQuestion:")[0]
    example = Example("0", question, "4")
    assert asked["answer"] == load_problem(ProblemConfig(name="largest_number")).extract(text, example)


def test_a_student_is_promoted_beside_ensembles(thickets, run: RunSummary, student: str, client: Any) -> None:
    found = json.loads(thickets("promote", run.run_id, "--student", "--name", "students", "--json")[1])
    assert (found["kind"], found["model_id"], found["is_champion"]) == ("student", student, True)
    with process_uri(run.tracking.mlflow_uri):
        loaded = mlflow.pyfunc.load_model("models:/students@champion")
    assert loaded.metadata.signature is not None
