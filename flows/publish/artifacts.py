"""What a finished search leaves in Prefect: its result as artifacts, an event that automations wait for, and assets.

The `summary` artifact is the whole result as JSON, so that a client anywhere gets it from the server it talks to
already (`thickets.flows.deployments.client`); a file or a pickle would want a storage that both sides reach.
"""

from __future__ import annotations

from prefect.artifacts import Artifact, create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.assets import Asset, AssetProperties, materialize
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from thickets.flows.plan import RunPlan
from thickets.flows.results.rows import GET_HEADING, USE_HEADING, result_rows
from thickets.flows.results.sentences import findings, verdicts
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.liveness import current_flow_run_id
from thickets.storage.tracking.run import Tracker
from thickets.tasks.results.text import OVER_BASE_HEADING, accuracy_heading, points, scored
from thickets.tasks.task import task

SUMMARY_KEY = "summary"
FINISHED_EVENT = "thickets.search.finished"


@task(
    "announce",
    retries=3,  # the Prefect server may be restarting; the result is safe already
    retry_delays_s=[2, 10, 30],
    timeout_s=300,
)
def announce(plan: RunPlan, summary: RunSummary, tracker: Tracker) -> None:
    """Show the result on the flow run's page and emit `FINISHED_EVENT`; do nothing outside of a flow run."""
    if current_flow_run_id() is None:
        return
    Artifact(
        type="json", key=SUMMARY_KEY, data=summary.model_dump(mode="json"), description="The result as JSON"
    ).create()
    found = result_rows(summary.evaluation, summary.full_cost)
    heading = accuracy_heading((row.accuracy for row in found), "test")
    rows = [
        {
            "": row.label,
            heading: scored(row.accuracy),
            OVER_BASE_HEADING: points(row.over_base) if row.over_base else "",
            "tokens": row.n_tokens,
            **({GET_HEADING: row.to_get, USE_HEADING: row.to_use} if row.cost else {}),
        }
        for row in found
    ]
    create_table_artifact(rows, key="result-table", description=findings(summary)[0])
    if page := tracker.url():
        create_link_artifact(page, "The run in MLflow", key="mlflow", description="Configuration, lineage, metrics")
        create_link_artifact(f"{page}/artifacts/report.html", "The report", key="report", description="One HTML page")
    else:
        text = f"Report: `{summary.folder / 'report.html'}`\n\n```\n{tracker.describe()}\n```"
        create_markdown_artifact(text, key="links", description="The report, and the run in MLflow")
    gain = summary.evaluation.ensemble_minus_base
    emit_event(
        FINISHED_EVENT,
        resource={
            "prefect.resource.id": f"thickets.run.{summary.run_id}",
            "prefect.resource.name": summary.run_id,
            "thickets.run_id": summary.run_id,
            # A gain is one that its interval tells from nothing.
            "thickets.gain": "yes" if gain.low > 0 else "no",
        },
        payload={
            "run_id": summary.run_id,
            "gain": gain.value,
            "gain_low": gain.low,
            "gain_high": gain.high,
            "verdict": verdicts(summary)[0].sentence,
        },
    )


def emit_search_assets(plan: RunPlan, summary: RunSummary) -> None:
    """Put data sets, scores and ensemble into Prefect's asset graph; call it in the flow."""
    if current_flow_run_id() is None:
        return
    page = summary.tracking.mlflow_address if summary.tracking else ""
    url = page if page.startswith("http") else None
    problem = plan.config.single_problem
    data = [
        Asset(
            key=f"thickets://data/{_plain(problem.name)}/{split.name}/{split.sha256[:12]}",
            properties=AssetProperties(
                name=f"{problem.title}, {split.name}", description=f"{len(split.examples)} examples"
            ),
        )
        for split in plan.splits
    ]
    scores = Asset(
        key=f"thickets://scores/{plan.fingerprint[:16]}",
        properties=AssetProperties(name=f"scores of {summary.run_id}", description=str(plan.shard_location)),
    )
    ensemble = Asset(
        key=ensemble_key(summary.run_id),
        properties=AssetProperties(
            name=f"ensemble of {summary.run_id}", url=url, description=verdicts(summary)[0].sentence
        ),
    )
    _materialize("data", data, [])
    _materialize("scores", [scores], data)
    _materialize("ensemble", [ensemble], [scores])


def emit_student_asset(run_id: str, distillation: str, verdict: str) -> None:
    """Put a distilled student into the asset graph, below its ensemble."""
    if current_flow_run_id() is None:
        return
    student = Asset(
        key=f"thickets://students/{run_id}/{distillation}",
        properties=AssetProperties(name=f"student of {run_id}", description=verdict),
    )
    _materialize("student", [student], [Asset(key=ensemble_key(run_id))])


def ensemble_key(run_id: str) -> str:
    """Return the key of the asset of a run's ensemble."""
    return f"thickets://ensembles/{run_id}"


def _materialize(name: str, assets: list[Asset], made_of: list[Asset]) -> None:
    def made() -> None:
        """Do nothing: the work is done, and calling this records the assets in Prefect."""

    materialize(
        *assets,
        by="thickets",
        name=f"asset-{name}",
        asset_deps=list(made_of),
        cache_policy=NO_CACHE,
        persist_result=False,
    )(made)()


def _plain(name: str) -> str:
    return name.replace(":", "-").replace("_", "-")
