"""The whole flow on a tiny model: what it leaves behind, and that running it again changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import polars as pl
import pytest

import thickets.flows.search.search as search_module
from tests.patience import wait_for
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import example_votes, find_run, list_runs, load_summary, open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError, RunError
from thickets.storage.home import Home
from thickets.storage.models.manifest import EnsembleManifest
from thickets.storage.shards.file import list_shards
from thickets.tasks.scoring.worker import ScoringWorker

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]


def outcome(summary: RunSummary) -> dict:
    """Everything a run found, without what differs from one execution to the next."""
    return summary.model_dump(exclude={"wall_s", "engine", "tracking", "folder"})


def shard_files(config: RunConfig) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (config.storage.home / "shards").glob("*/*.parquet")}


def statuses(client: mlflow.MlflowClient) -> list[str]:
    """How the MLflow runs of all flows ended, without the nested runs of their stages."""
    return [run.info.status for run in client.search_runs(["1"]) if "mlflow.parentRunId" not in run.data.tags]


def test_a_run_leaves_its_scores_its_result_and_its_lineage(config: MakeConfig, finished: RunSummary) -> None:
    home, summary = Home(config().storage.home), finished
    folder = find_run(home, "latest")
    found = summary.evaluation
    assert found.base.n == found.best_single.n == found.ensemble.n == 14
    assert found.k in (1, 3, 5)
    assert len(summary.experts) == found.k

    with open_scores(home, folder) as reader:
        assert reader.query("select count(*) from scores where split = 'selection'").item() == 10 * 12
        asked = reader.query("select candidate_id, count(*) as n from scores where split = 'test' group by all")
        assert set(asked["n"]) == {14}
        [best] = [control for control in found.controls if control.name == "best_prompt"]
        # The base, its samples and the weight average; in other words, if those are better, base and samples again.
        n_base = 2 + found.k + (0 if "the run's own" in best.label else 1 + found.k)
        assert asked["candidate_id"].str.starts_with("base").sum() == n_base
        assert found.k <= asked.height - n_base <= 2 * found.k  # experts, and as many drawn at random
        board = reader.query("select seed, n_correct from leaderboard limit 9")
        assert board["seed"].to_list()[: found.k] == [int(expert.seed) for expert in summary.experts]
        assert reader.query("select count(*) from completions").item() > 0
        votes = example_votes(reader, summary)
    assert votes["question"].n_unique() == 3
    assert votes.filter(pl.col("who") == "vote").height == 3

    manifest = EnsembleManifest.load(folder.manifest)
    assert [str(expert.seed) for expert in manifest.experts] == [expert.seed for expert in summary.experts]
    assert manifest.base.sha256 == summary.model_sha256

    client = mlflow.MlflowClient(summary.tracking.mlflow_uri)
    run = client.get_run(summary.tracking.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test.ensemble.accuracy"] == pytest.approx(found.ensemble.value)
    for control in found.controls:
        assert run.data.metrics[f"test.{control.name}.tokens"] == control.n_tokens
        assert run.data.metrics[f"test.ensemble_minus_{control.name}"] == pytest.approx(control.ensemble_minus.value)
    assert run.data.params["population.size"] == "9"
    assert run.data.tags["thickets.fingerprint"] == summary.fingerprint
    assert run.data.tags["prefect.flow_run_id"] == summary.tracking.prefect_flow_run_id
    assert {tag.value for d in run.inputs.dataset_inputs for tag in d.tags if tag.key == "mlflow.data.context"} == {
        "selection",
        "validation",
        "test",
    }
    artifacts = {
        item.path for part in ("", "figures", "tables") for item in client.list_artifacts(run.info.run_id, part)
    }
    assert {
        "manifest.json",
        "config.yaml",
        "identity.json",
        "judgement.json",
        "figures/k_curve.png",
        "tables/leaderboard.csv",
    } <= artifacts


def test_prefect_shows_the_result_and_the_way_to_mlflow(finished: RunSummary) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    summary = finished
    flow_run_id = summary.tracking.prefect_flow_run_id
    with get_client(sync_client=True) as client:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        artifacts = {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=mine)}
        assert client.read_flow_run(flow_run_id).name == "tiny-n9"
    assert summary.tracking.mlflow_run_id in str(artifacts["mlflow-run"].data)
    assert "ensemble" in str(artifacts["result"].data)
    assert f"thickets view {summary.run_id} --home " in str(artifacts["answers"].data)
    assert {"scoring-selection", "scoring-validation", "scoring-test"} <= set(artifacts)


def test_what_a_run_says_is_on_its_prefect_page(finished: RunSummary) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    summary = finished
    mine = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[summary.tracking.prefect_flow_run_id]))
    with get_client(sync_client=True) as client:

        def page() -> str:
            return "\n".join(entry.message for entry in client.read_logs(log_filter=mine))

        # Prefect sends logs in batches, some seconds late.
        wait_for(lambda: "chosen on the validation split" in page(), every_s=0.5)
        assert "selection: 30 units to score" in page()


def test_the_same_config_again_scores_nothing_and_finds_the_same(
    config: MakeConfig, finished: RunSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finished
    files, manifest = shard_files(config()), (first.folder / "manifest.json").read_bytes()
    monkeypatch.setattr(ScoringWorker, "score", lambda self, shard: pytest.fail(f"{shard.id} was scored again"))
    again = randopt(config())
    assert outcome(again) == outcome(first)
    assert again == load_summary(find_run(Home(config().storage.home), "latest"))
    assert shard_files(config()) == files
    assert (first.folder / "manifest.json").read_bytes() == manifest
    assert statuses(mlflow.MlflowClient(first.tracking.mlflow_uri)) == ["FINISHED", "FINISHED"]


@pytest.mark.slow
def test_how_the_work_is_cut_changes_nothing(config: MakeConfig, finished: RunSummary, tmp_path: Path) -> None:
    first = finished
    other = config(
        scoring={"examples_per_block": 5, "candidates_per_shard": 7}, storage={"home": str(tmp_path / "other")}
    )
    assert outcome(randopt(other)) == outcome(first)


def test_a_larger_population_scores_only_the_new_candidates(
    config: MakeConfig, finished: RunSummary, tmp_path: Path
) -> None:
    small = finished
    before = shard_files(config())
    larger = randopt(config(population={"size": 15, "sigmas": [0.05, 0.1, 0.2]}))
    assert larger.fingerprint == small.fingerprint
    assert larger.run_id != small.run_id
    new = pl.concat([pl.read_parquet(path) for path in set(shard_files(config())) - set(before)])
    old = pl.concat([pl.read_parquet(path) for path in before])
    on = ["candidate_id", "split", "example_id"]
    assert new.join(old, on=on, how="semi").is_empty()
    assert new.filter(pl.col("split") == "selection")["candidate_id"].n_unique() == 6
    alone = config(population={"size": 15, "sigmas": [0.05, 0.1, 0.2]}, storage={"home": str(tmp_path / "alone")})
    assert outcome(randopt(alone)) == outcome(larger)
    assert {row.run_id for row in list_runs(Home(config().storage.home))} == {small.run_id, larger.run_id}


def test_fresh_moves_what_is_there_aside_and_finds_the_same(config: MakeConfig, finished: RunSummary) -> None:
    first = finished
    home = Home(config().storage.home)
    before = [path.name for path in list_shards(home.shards(first.fingerprint))]
    again = randopt(config(), fresh=True)
    assert outcome(again) == outcome(first)
    assert [path.name for path in list_shards(home.shards(first.fingerprint))] == before
    [kept] = (home.root / "shards" / "replaced").iterdir()
    assert [path.name for path in list_shards(kept)] == before
    assert list((home.root / "replaced").glob(f"{first.run_id}-*/scores.duckdb"))


def test_a_damaged_shard_is_scored_again(config: MakeConfig, finished: RunSummary) -> None:
    first = finished
    folder = Home(config().storage.home).shards(first.fingerprint)
    files = list_shards(folder)
    whole = {path: path.read_bytes() for path in files}
    files[0].write_bytes(whole[files[0]][:100])
    # The database keeps the scores of both.
    content = whole[files[1]]
    files[1].write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
    assert outcome(randopt(config())) == outcome(first)
    assert all(path.with_name(path.name + ".broken").exists() for path in files[:2])
    assert {path: path.read_bytes() for path in list_shards(folder)} == whole


def test_fresh_takes_no_answers_from_another_run(config: MakeConfig, finished: RunSummary) -> None:
    home = Home(config().storage.home)
    other = home.run("other").create()
    other.fingerprint.write_text(finished.fingerprint + "\n")
    other.scores.touch()
    shards = home.shards(finished.fingerprint)
    before = [sorted(path.name for path in folder.iterdir()) for folder in (shards, finished.folder)]
    with pytest.raises(InputError, match=r"^--fresh: the answers of .* are also those of other, which would lose them"):
        randopt(config(), fresh=True)
    assert [sorted(path.name for path in folder.iterdir()) for folder in (shards, finished.folder)] == before


def test_a_run_in_progress_is_not_started_twice(config: MakeConfig, finished: RunSummary) -> None:
    first = finished
    home = Home(config().storage.home)
    with home.run_lock(first.run_id):
        assert list_runs(home)[0].state == "running"
        with pytest.raises(RunError, match="already in progress"):
            randopt(config())
    assert list_runs(home)[0].state == "completed"


def test_a_run_of_another_version_is_listed_but_not_shown(config: MakeConfig, finished: RunSummary) -> None:
    first = finished
    folder = find_run(Home(config().storage.home), "latest")
    folder.summary.write_text('{"from": "the future"}')
    folder.config.write_text(folder.config.read_text() + "unheard_of: 1\n")
    [row] = list_runs(Home(config().storage.home))
    assert (row.run_id, row.state, row.base_accuracy) == (first.run_id, "completed", None)
    with pytest.raises(InputError, match="does not fit this version"):
        load_summary(folder)


def test_a_failure_after_scoring_keeps_the_scores_and_is_recorded(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RunError("planted")

    with monkeypatch.context() as planted:
        planted.setattr(search_module, "evaluate_ensemble", fail)
        with pytest.raises(RunError, match="planted"):
            randopt(config())
    home = Home(config().storage.home)
    assert list_runs(home)[0].state == "interrupted"
    client = mlflow.MlflowClient(f"sqlite:///{home.mlflow_db.resolve()}")
    assert statuses(client) == ["FAILED"]
    files = shard_files(config())
    randopt(config())
    assert shard_files(config()) == files


def test_the_flow_takes_plain_values_as_a_deployment_sends_them(config: MakeConfig, finished: RunSummary) -> None:
    plain = json.loads(config().model_dump_json())
    assert outcome(randopt(plain)) == outcome(finished)
