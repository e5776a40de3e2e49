"""decoding.chat_template_kwargs, from the configuration to the prompts that a served ensemble reads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from transformers import AutoTokenizer

from tests.tiny_model import make_tiny_model
from thickets.flows.config.run import RunConfig
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.search.search import make_manifest
from thickets.storage.models.base import resolve_model
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.results.evaluation import CurvePoint
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.serving import open_answerer, open_ensemble

MakeConfig = Callable[..., RunConfig]
MOODY = "{% if mood is defined %}({{ mood }}) {% endif %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('No system.') }}{% endif %}"


def make_model(folder: Path, before: str) -> Path:
    """A tiny model whose chat template begins with something else."""
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(folder))
    tokenizer.chat_template = before + tokenizer.chat_template
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def moody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "moody", MOODY)


def plan_of(config: RunConfig) -> RunPlan:
    problem, data = load_problem(config.single_problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=0)
    return make_plan(config, resolve_model(config.model), problem, splits)


def manifest_of(plan: RunPlan) -> EnsembleManifest:
    experts = pl.DataFrame({"rank": [1], "seed": [7], "sigma": [0.1], "n_correct": [3], "weight": [1]})
    score = Accuracy(n_correct=3, n=10, value=0.3, low=0.1, high=0.6)
    return make_manifest(plan, experts, CurvePoint(k=1, method="top_k", rule="majority", accuracy=score))


def test_values_are_in_prompts_identity_and_manifest_and_an_ensemble_renders_alike(
    config: MakeConfig, moody: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = plan_of(config(model=str(moody)))
    glad = plan_of(config(model=str(moody), decoding={"max_tokens": 8, "chat_template_kwargs": {"mood": "glad"}}))
    assert glad.fingerprint != plain.fingerprint
    assert [f"(glad) {text}" for text in plain.blocks[0].prompts] == list(glad.blocks[0].prompts)

    manifest = EnsembleManifest.model_validate_json(manifest_of(glad).model_dump_json())
    answerer = open_ensemble(manifest)
    example = glad.blocks[0].examples[0]
    assert answerer._template.render(glad.problem.messages(example)) == glad.blocks[0].prompts[0]
    assert answerer._template.identity() == glad.identity["prompt"]
    answerer.close()

    # Another checkpoint that is asked like the run, and has a template that does not look at it.
    with caplog.at_level(logging.WARNING):
        other = open_answerer(manifest.recipe, tiny_model, own_template=True)
    assert other._template.render(glad.problem.messages(example)) == plain.blocks[0].prompts[0]
    assert "never looks at mood" in caplog.text
    other.close()


@pytest.mark.parametrize(
    ("before", "change", "line"),
    [
        (
            NO_SYSTEM,
            "problem.system=Be short.",
            "problem.system: this model's chat template refuses a system message",
        ),
        ("{{ raise_exception('Never.') }}", "name=x", "model: its chat template cannot be rendered (Never.)"),
        (
            MOODY,
            "decoding.chat_template_kwargs.mod=1",
            "decoding.chat_template_kwargs: this model's chat template",
        ),
        (MOODY, "decoding.max_tokens=500", "data.too_long: the prompt of selection row"),
    ],
)
def test_what_cannot_be_asked_is_one_line_before_anything_starts(
    thickets, my_yaml, tmp_path: Path, before: str, change: str, line: str
) -> None:
    problem = {"name": "file", "path": str(tmp_path / "rows.csv"), "verifier": "exact"}
    (tmp_path / "rows.csv").write_text("question,answer\n" + "".join(f"What is {i}?,{i}\n" for i in range(60)))
    path = my_yaml(model=str(make_model(tmp_path / "model", before)), problem=problem)
    for command in ("run", "estimate"):
        status, _, err = thickets(command, path, "--set", change)
        assert status == 2
        [told] = [each for each in err.splitlines() if each.strip()]
        assert told.removeprefix("error: ").startswith(line)
