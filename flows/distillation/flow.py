"""Distillation as a Prefect flow: fresh examples, the experts' answers, one student and its controls, a verdict.

The last stage of `randopt` where the configuration has a `distillation` section; on a finished run, `thickets distill`.
Every part is kept as it is finished, so the same call goes on where it was interrupted.
"""

from __future__ import annotations

import time
from contextlib import nullcontext

from prefect import flow

from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.distillation.place import choose_place, needs_checkpointing
from thickets.flows.distillation.plan import plan_distillation
from thickets.flows.distillation.steps import answer_training_split, choose_rows, too_little, train_and_judge
from thickets.flows.distillation.tracking import distill_links, log_distillation, start_distill_tracking
from thickets.flows.distillation.trainer import Trainer
from thickets.flows.distillation.verdict import conclude
from thickets.flows.placement.engines import open_cluster
from thickets.flows.publish.artifacts import emit_student_asset
from thickets.flows.report import report_again
from thickets.flows.results.distillation import DistillSummary
from thickets.flows.results.test_answers import read_test_answers
from thickets.flows.runtime.clock import session_began
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.prefect_server import shown
from thickets.flows.runtime.repair import end_mlflow_runs
from thickets.flows.runtime.session import session
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.distillation.generic import generic_text
from thickets.tasks.distillation.results import Arm
from thickets.tasks.distillation.training import check_installed
from thickets.tasks.engines import resolve_spec
from thickets.tasks.preparation import prepare_base_model, prepare_splits
from thickets.tasks.problems import load_problem
from thickets.tasks.scoring.executors.ray_cluster import RayCluster


@flow(
    name="distill",
    flow_run_name="{config.label}",
    persist_result=False,
    on_crashed=[end_mlflow_runs],
)
def distill(config: RunConfig) -> DistillSummary:
    """Train one model on the answers of a finished run's experts, and compare it with them.

    Args:
        config: The run's, with a `distillation` section.

    Returns:
        The summary, also kept as summary.json in the distillation's folder.

    Raises:
        InputError: The run is not finished, data is short, or something in the configuration cannot be used.
        RunError: The run is in use, or the distillation could not be completed.
    """
    with session(config.storage.home), open_cluster(config.engine) as cluster:
        return _distill(config, cluster)


def _distill(config: RunConfig, cluster: RayCluster | None) -> DistillSummary:
    began = session_began()
    check_installed()
    home = Home(config.storage.home).writable()
    base = prepare_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    problem = load_problem(config.single_problem)
    data = config.data
    splits = prepare_splits(problem, data.draw)
    plan = plan_distillation(config, base, problem, splits, cluster.resolve if cluster else resolve_spec)
    section, folder = plan.section, plan.folder
    text = generic_text(section.generic_text)
    with home.run_lock(plan.run.run_id) as run_folder:
        recipe = EnsembleManifest.load(run_folder.manifest).recipe
        if folder.summary.is_file():
            log.info(f"distillation {plan.id} of {plan.run.run_id} is finished; nothing left to do")
            if folder.unlogged.exists():
                log_distillation(plan, None, recipe, folder.load())
            return folder.load()
        place = choose_place(plan.run, cluster)
        trainer = Trainer(plan, place, needs_checkpointing(plan, place), text)
        folder.root.mkdir(parents=True, exist_ok=True)
        write_text_atomically(folder.config, dump_config(config))
        log.info(f"distillation {plan.id} of {plan.run.run_id} in {folder.root}")
        tracker = start_distill_tracking(plan)
        with tracker or nullcontext():
            answers = answer_training_split(plan, cluster)
            rows, report = choose_rows(plan, answers)
            log.info(f"training data: {report.n_rows} rows")
            reason = too_little(report, section.min_rows)
            on_test = read_test_answers(home, plan.found)
            arms: list[Arm] = []
            base_perplexity = None
            if reason is None:
                base_perplexity = trainer.perplexity_of_base()
                for name in rows["arm"].unique(maintain_order=True):
                    arm_rows = rows.filter(rows["arm"] == name)
                    arms.append(train_and_judge(trainer, name, arm_rows, cluster, tracker, on_test))
            wall_s = time.monotonic() - began
            where = distill_links(plan, tracker)
            summary = conclude(plan, answers, on_test, report, reason, arms, base_perplexity, where, wall_s)
            # Before the summary says that nothing is left to do; and that before it is logged: a tracking server that
            # fails now must not cost the result.
            write_text_atomically(folder.unlogged, f"{where.mlflow_uri}\n")
            write_text_atomically(folder.summary, summary.model_dump_json(indent=2))
            report_again(home, run_folder)  # with the student in it
            log_distillation(plan, tracker, recipe, summary)
            with shown("the asset"):
                emit_student_asset(plan.run.run_id, plan.id, reason or f"{len(arms)} arms were trained")
    return folder.load()
