"""Flows about a finished run: distil it, measure it on new questions, write its report again.

They do what `thickets distill`, `thickets evaluate` and `thickets report` do, for a form, a schedule or an automation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from thickets.flows.config.run import DistillationConfig, StorageConfig
from thickets.flows.distillation.flow import distill
from thickets.flows.distillation.plan import distill_config
from thickets.flows.models.open import find_model
from thickets.flows.models.reevaluation import Reevaluation, reevaluate
from thickets.flows.placement.accelerator import hold_device
from thickets.flows.report import report_again
from thickets.flows.results.distillation import DistillSummary
from thickets.flows.results.runs import find_run
from thickets.flows.runtime.prefect_server import show_markdown
from thickets.flows.runtime.repair import end_mlflow_runs
from thickets.flows.runtime.session import session
from thickets.storage.home import Home
from thickets.tasks.results.text import accuracy_heading, markdown_table, points, scored
from thickets.tasks.task import task

Run = Annotated[str, Field(title="Run", description="A run id, a unique prefix of one, or latest.")]


@flow(name="distill-run", flow_run_name="distill-{run}", persist_result=False, on_crashed=[end_mlflow_runs])
def distill_run(run: Run = "latest", distillation: DistillationConfig | None = None) -> DistillSummary:
    """Train one model on the answers of a finished run's experts, and compare it with them.

    Args:
        run: The run; its own settings are taken for everything but the distillation.
        distillation: Settings of the distillation; empty: those of the run's configuration, or the defaults.

    Raises:
        InputError: There is no such run, or it is not finished.
    """
    home = Home(StorageConfig().home)
    config = distill_config(home, find_run(home, run), [])
    if distillation is not None:
        config = config.model_copy(update={"distillation": distillation})
    return distill(config)


@flow(name="evaluate", flow_run_name="evaluate-{model}", persist_result=False, on_crashed=[end_mlflow_runs])
def evaluate(
    model: Annotated[
        str, Field(title="Model", description="A run, an MLflow address (models:/..., runs:/...) or a checkpoint.")
    ],
    data: Annotated[str, Field(title="Data", description="File of questions and answers, as the worker finds it.")],
    k: Annotated[int, Field(title="Experts", ge=0, description="How many vote, the best first; 0: all.")] = 0,
    base: Annotated[bool, Field(title="Base as well", description="Ask the base too, and compare.")] = False,
    like: Annotated[
        str | None, Field(title="Like", description="For a checkpoint or a hub id: the run it is asked like.")
    ] = None,
) -> Reevaluation:
    """Measure a model on a new file of questions, judged as its run did; keep its accuracy as an MLflow run.

    Raises:
        InputError: The file does not fit the problem, or the model cannot be used.
    """
    home = Home(StorageConfig().home)
    with session(home.root):
        found = measure(home, model, Path(data), k, base, like)
        show_markdown(_markdown(found), "evaluation", "Accuracy on the new questions")
    return found


@flow(name="report", flow_run_name="report-{run}", persist_result=False)
def report(run: Run = "latest") -> str:
    """Write a finished run's report again, from what is stored.

    Returns:
        The path of the file, on the machine of the worker.

    Raises:
        InputError: There is no such run, or it is not finished.
    """
    home = Home(StorageConfig().home)
    with session(home.root):
        path = write_again(home, run)
        show_markdown(f"`{path}`", "report", "The report, on the machine of the worker")
    return str(path)


@task(
    "measure",
    retries=1,  # an engine may be lost; a second loss is no accident
    retry_delays_s=[10],
)
def measure(home: Home, model: str, data: Path, k: int, base: bool, like: str | None) -> Reevaluation:
    """Run `thickets.flows.models.reevaluation.reevaluate` as a Prefect task, on the device of this machine."""
    from thickets.tasks.engines.devices import pick_device  # imports PyTorch: seconds

    device = pick_device("auto").type
    with hold_device(device):
        return reevaluate(home, find_model(home, model, like), data, {}, k=k, with_base=base, device=device)


@task("write-report", timeout_s=600)
def write_again(home: Home, run: str) -> Path:
    """Run `report.report_again` as a Prefect task, without retries: its result depends on files alone."""
    return report_again(home, find_run(home, run))


def _markdown(found: Reevaluation) -> str:
    rows = [[f"{found.model}, K = {found.k}", scored(found.accuracy)]]
    if found.base is not None and found.over_base is not None:
        rows.append(["base", scored(found.base)])
        rows.append(["difference, points", points(found.over_base)])
    heading = accuracy_heading(each for each in (found.accuracy, found.base) if each)
    table = markdown_table([f"`{found.data}`", heading], rows)
    return f"{table}\n\n```\n{found.mlflow_address}\n```\n"
