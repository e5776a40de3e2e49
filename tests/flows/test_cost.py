"""What a run says that it took is what its shards hold, and what its prompts are."""

from __future__ import annotations

from collections.abc import Callable

import mlflow
import polars as pl
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from thickets.flows.config.run import RunConfig
from thickets.flows.results.cost import search_cost
from thickets.flows.results.runs import find_run
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.tasks.problems import load_problem
from thickets.tasks.results.cost import Cost
from thickets.tasks.types import Example

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]


@pytest.fixture
def shards(config: MakeConfig, finished: RunSummary) -> pl.DataFrame:
    """Every answer in the run's shards, with the tokens of its prompt where the words are the run's own."""
    home = Home(config().storage.home)
    answers = pl.read_parquet(home.shards(finished.fingerprint) / "*.parquet")
    examples = pl.read_parquet(find_run(home, "latest").examples)
    problem, tokenizer = load_problem(config().single_problem), AutoTokenizer.from_pretrained(config().model)
    read = [
        len(
            tokenizer.apply_chat_template(
                list(problem.messages(Example(row["example_id"], row["question"], row["answer"]))),
                add_generation_prompt=True,
            )["input_ids"]
        )
        for row in examples.iter_rows(named=True)
    ]
    lengths = examples.with_columns(n_read=pl.Series(read)).select("split", "example_id", "n_read")
    return answers.join(lengths, on=["split", "example_id"], how="left")


def counted(rows: pl.DataFrame, n_parameters: int) -> Cost:
    n_generated, n_read = int(rows["n_tokens"].sum()), int(rows["n_read"].sum())
    return Cost(
        n_generated=n_generated,
        n_read=n_read,
        n_forward=rows.height,
        flops=2.0 * n_parameters * (n_generated + n_read),
    )


def without_seconds(cost: Cost) -> Cost:
    return cost.model_copy(update={"engine_s": 0.0})


def test_the_search_cost_what_its_shards_hold(finished: RunSummary, shards: pl.DataFrame) -> None:
    n_parameters = sum(each.numel() for each in AutoModelForCausalLM.from_pretrained(finished.model).parameters())
    found = search_cost(finished)
    is_control = pl.col("candidate_id").str.starts_with("base~")
    searched = shards.filter(pl.col("split").is_in(["selection", "validation"]) & ~is_control)
    assert without_seconds(found) == counted(searched, n_parameters)
    assert found.n_forward == 10 * 12 + searched.filter(split="validation").height
    assert 0 < found.engine_s <= finished.engine.load_s + finished.engine.generate_s


def test_every_row_of_the_result_has_its_cost(finished: RunSummary, shards: pl.DataFrame) -> None:
    cost = finished.full_cost
    assert cost is not None
    test, n = shards.filter(split="test"), cost.n_parameters
    base, ensemble, lots = cost.of("base"), cost.of("ensemble"), cost.of("self_consistency")
    assert base is not None
    assert ensemble is not None
    assert lots is not None
    assert without_seconds(base.use) == counted(test.filter(candidate_id="base"), n)
    assert base.get == lots.get == Cost()
    assert ensemble.get == cost.search
    k = finished.evaluation.k
    assert (base.use.n_forward, ensemble.use.n_forward, lots.use.n_forward) == (14, 14 * k, 14 * k)
    assert ensemble.use.n_read == k * base.use.n_read
    assert ensemble.use.n_generated == finished.evaluation.n_tokens.ensemble
    assert lots.use.n_read == k * base.use.n_read
    for control in finished.evaluation.controls:
        row = cost.of(control.name)
        assert row is not None
        assert row.n == 14
        assert row.use.n_generated == control.n_tokens
    prompts = cost.of("best_prompt")
    assert prompts is not None
    asked = shards.filter(
        (pl.col("split") == "validation") & pl.col("candidate_id").str.contains(r"^base(~w[0-9a-f]{16})?$")
    )
    assert prompts.get.n_generated == asked["n_tokens"].sum()
    assert prompts.get.n_read > asked["n_read"].sum() > 0  # the other wordings are longer


def test_mlflow_has_the_costs_of_a_run(config: MakeConfig, finished: RunSummary) -> None:
    assert not find_run(Home(config().storage.home), "latest").unlogged.exists()
    metrics = mlflow.MlflowClient(finished.tracking.mlflow_uri).get_run(finished.tracking.mlflow_run_id).data.metrics
    assert finished.full_cost is not None
    for row in finished.full_cost.rows:
        assert metrics[f"cost.{row.name}.get_tokens"] == row.get.n_tokens
        assert metrics[f"cost.{row.name}.use_flops"] == pytest.approx(row.use_flops)


def test_a_run_of_a_version_that_counted_nothing_says_what_to_do(finished: RunSummary) -> None:
    stored = finished.model_dump(mode="json", exclude={"cost"})
    del stored["engine"]["seconds"]
    old = RunSummary.model_validate(stored)
    assert old.full_cost is None
    with pytest.raises(InputError, match="run its configuration again"):
        search_cost(old)
