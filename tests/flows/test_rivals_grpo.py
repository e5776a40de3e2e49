"""GRPO as a rival of a finished run: within its budget, on its questions, compared on its test split."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest
from pydantic import ValidationError
from safetensors.torch import load_file

from tests.flows.publishing import copy_home
from tests.flows.test_kill import command, wait_while_it_runs
from thickets.flows.config.rivals import RivalsConfig
from thickets.flows.config.run import RunConfig
from thickets.flows.results.rivals import RivalFolder, finished_rivals
from thickets.flows.results.runs import find_run
from thickets.flows.results.summary import RunSummary
from thickets.flows.rivals.flow import rival
from thickets.flows.rivals.plan import rival_config
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.rivals.grpo.check import check_generation, check_grpo
from thickets.tasks.rivals.grpo.results import GrpoTraining

GRPO = {"prompts": 4, "num_generations": 4, "batch_size": 8, "learning_rate": 0.01, "eval_every": 2, "rank": 4}


def asked(searched: RunSummary, *overrides: str) -> RunConfig:
    home = Home(searched.folder.parents[1])
    section = [f"rivals.grpo.{name}={value}" for name, value in GRPO.items()]
    return rival_config(home, find_run(home, searched.run_id), "grpo", [*section, *overrides])


@pytest.mark.slow
def test_it_is_trained_within_the_budget_of_the_search_and_compared_with_the_run(finished: RunSummary) -> None:
    found = rival(asked(finished), "grpo")
    folder = RivalFolder(found.folder)
    training = GrpoTraining.model_validate_json(folder.state.read_text())
    points = found.rival.points
    assert points[0].step == 0
    assert [point.step for point in points[1:-1]] == list(range(2, 2 * len(points) - 2, 2))
    search = found.cost.search.n_tokens
    # It ends with the step after which a look would go beyond the budget.
    step = training.lines[-1].values["cost/tokens"] - training.lines[-2].values["cost/tokens"]
    assert search - step < found.rival.cost_to_get.n_tokens < search + 2 * step
    assert found.rival.ended == "its budget was spent"
    assert found.rival.minus_base.value == pytest.approx(found.rival.test.value - finished.evaluation.base.value)
    # What it was stopped by, by Transformers in training, is what the run's engine says of the checkpoint.
    assert found.rival.validation.total == max(point.validation.total for point in points)
    weights = load_file(folder.model / "model.safetensors")
    base = load_file(asked(finished).model + "/model.safetensors")
    assert {name: tensor.dtype for name, tensor in weights.items()} == {n: t.dtype for n, t in base.items()}
    assert not list(folder.work.glob("checkpoints/*"))
    client = mlflow.MlflowClient(found.tracking.mlflow_uri)
    rewards = client.get_metric_history(found.tracking.mlflow_run_id, "train.reward")
    assert [metric.step for metric in rewards] == [line.step for line in training.lines]
    assert rival(asked(finished), "grpo") == found
    assert found in finished_rivals(find_run(Home(finished.folder.parents[1]), finished.run_id))


@pytest.mark.slow
def test_killed_in_its_training_it_ends_with_the_same_model(finished: RunSummary, tmp_path: Path) -> None:
    settings = [f"rivals.grpo.{name}={value}" for name, value in GRPO.items()]
    found = {}
    for name in ("undisturbed", "killed"):
        home = Home(tmp_path / name)
        copy_home(finished.folder.parents[1], home.root)
        run = home.run(finished.run_id)
        shutil.rmtree(run.root / "rivals", ignore_errors=True)
        arguments = ["rival", finished.run_id, "--method", "grpo", "--home", str(home.root)]
        arguments += [part for each in settings for part in ("--set", each)]
        if name == "killed":
            process = command(*arguments)
            wait_while_it_runs(process, lambda root=run.root: list(root.glob("rivals/**/trainer_state.json")))
            process.kill()
            process.wait()
            assert not finished_rivals(run)
        assert command(*arguments).wait() == 0
        [found[name]] = finished_rivals(run)
    killed, undisturbed = (found[name].rival for name in ("killed", "undisturbed"))
    assert (killed.sha256, killed.test, killed.chosen_step) == (
        undisturbed.sha256,
        undisturbed.test,
        undisturbed.chosen_step,
    )
    without_seconds = [each.cost_to_get.model_copy(update={"engine_s": 0.0}) for each in (killed, undisturbed)]
    assert without_seconds[0] == without_seconds[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_generations": 1}, "greater than or equal to 2"),
        ({"batch_size": 5}, r"rivals.grpo.batch_size is 5, .* 64 answers"),
        ({"iterations": 2}, r"rivals.grpo.eval_every is 5 and rivals.grpo.iterations 2"),
        ({"method": "qlora"}, "'lora' or 'full'"),
        ({"generation": "sglang"}, "'transformers' or 'vllm'"),
        ({"temperature": 0}, "greater than or equal to 0.01"),
        ({"beta": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RivalsConfig.model_validate({"grpo": values})


def test_the_learning_rate_follows_the_method() -> None:
    rates = [RivalsConfig.model_validate({"grpo": {"method": method}}).grpo for method in ("lora", "full")]
    assert [section.rate for section in rates if section] == [3e-4, 1e-5]


def test_vllm_is_refused_where_it_cannot_sample_for_the_trainer() -> None:
    check_generation("transformers", "cpu")
    with pytest.raises(InputError, match=r"rivals.grpo.generation is vllm, but the model is trained on cpu"):
        check_generation("vllm", "cpu")


def test_labels_and_models_that_see_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "Which is a metal?", "options": ["iron", "sand"], "answer": "A"}')
    labels = {"name": "choice", "path": str(rows), "scoring": "loglikelihood"}
    with pytest.raises(InputError, match=r"rivals.grpo: choice.* chooses among labels"):
        check_grpo("tiny", tiny_model, load_problem(ProblemConfig.model_validate(labels)))
    (tmp_path / "config.json").write_text('{"model_type": "llama", "vision_config": {}}')
    with pytest.raises(InputError, match=r"rivals.grpo: seeing reads images"):
        check_grpo("seeing", tmp_path, load_problem(ProblemConfig(name="largest_number")))
