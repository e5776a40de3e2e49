"""From a registered version back to data, stages and flow run; and nothing that is logged is a pickle."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from thickets.flows.config.file import load_config
from thickets.flows.models.promotion import promote
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home, RunFolder


def test_a_registered_version_leads_back_to_everything_it_was_made_from(
    run: RunSummary, client: Any, home: Home
) -> None:
    from prefect.client.orchestration import get_client

    found = promote(RunFolder(run.folder), name="walk")
    version = client.get_model_version_by_alias("walk", "champion")
    assert (str(version.version), version.tags["thickets.run_id"]) == (found.version, run.run_id)
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    parent = client.get_run(version.run_id)
    assert {"name": "walk", "version": found.version} in json.loads(model.tags["mlflow.modelVersions"])
    assert run.run_id in version.description
    assert model.source_run_id == parent.info.run_id == run.tracking.mlflow_run_id
    assert parent.data.params["population.size"] == "7"
    assert {"config.yaml", "manifest.json", "report.html", "summary.json"} <= {
        item.path for item in client.list_artifacts(parent.info.run_id)
    }
    kept = Path(client.download_artifacts(parent.info.run_id, "config.yaml"))
    assert load_config(str(kept)) == load_config(str(run.folder / "config.yaml"))
    [base_input] = parent.inputs.model_inputs
    base = client.get_logged_model(base_input.model_id)
    assert base.params["sha256"] == run.model_sha256
    hashes = {tag.value for each in parent.inputs.dataset_inputs for tag in each.tags if tag.key == "sha256"}
    assert len(hashes) == 3
    assert version.tags["thickets.test_sha256"] in hashes

    experiment = parent.info.experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    stages = {child.info.run_name: child for child in children}
    assert set(stages) == {"population", "scoring", "selection", "evaluation"}
    assert {child.info.status for child in children} == {"FINISHED"}
    artifacts = {
        name: {item.path for part in ("tables", "figures") for item in client.list_artifacts(child.info.run_id, part)}
        for name, child in stages.items()
    }
    assert "tables/population.csv" in artifacts["population"]
    assert {"tables/sigma_statistics.csv", "figures/score_by_sigma.png"} <= artifacts["scoring"]
    assert {"tables/leaderboard.parquet", "figures/k_curve.png"} <= artifacts["selection"]
    assert "tables/test_answers.parquet" in artifacts["evaluation"]
    assert stages["evaluation"].data.metrics["ensemble.accuracy"] == pytest.approx(run.evaluation.ensemble.value)

    [accuracy] = [metric for metric in model.metrics if metric.key == "ensemble.accuracy"]
    assert accuracy.value == pytest.approx(run.evaluation.ensemble.value)
    assert accuracy.run_id == stages["evaluation"].info.run_id
    assert accuracy.dataset_name == "largest_number/test"
    assert version.tags["thickets.test_sha256"].startswith(accuracy.dataset_digest)
    of_base = [metric for metric in base.metrics if metric.run_id == accuracy.run_id and metric.key == "base.accuracy"]
    assert [metric.value for metric in of_base] == [pytest.approx(run.evaluation.base.value)]

    flow_run_id = parent.data.tags["prefect.flow_run_id"]
    with get_client(sync_client=True) as prefect:
        assert prefect.read_flow_run(flow_run_id).name == "tiny-n7"
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        [back] = [each for each in prefect.read_artifacts(artifact_filter=mine) if each.key == "mlflow-run"]
    assert parent.info.run_id in str(back.data)


def test_nothing_that_is_logged_is_a_pickle(home: Home, student: str) -> None:
    files = [path for folder in (home.mlflow_artifacts, home.runs) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert any(path.name == "model.safetensors" for path in files)
    for path in files:
        assert path.suffix not in (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".nbi", ".nbc"), path
        with path.open("rb") as file:
            start = file.read(2)
        assert not (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")), path
        if zipfile.is_zipfile(path):
            assert not [name for name in zipfile.ZipFile(path).namelist() if name.endswith(".pkl")], path
