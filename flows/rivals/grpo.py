"""GRPO as a rival."""

from __future__ import annotations

from thickets.flows.rivals.methods import Made, OnPoint
from thickets.flows.rivals.plan import RivalPlan
from thickets.storage.errors import InputError
from thickets.tasks.results.evaluation import Accuracy
from thickets.tasks.scoring.executors.ray_cluster import RayCluster


def train_by_grpo(plan: RivalPlan, base: Accuracy, cluster: RayCluster | None, on_point: OnPoint) -> Made:
    """See `thickets.flows.rivals.methods.Method`."""
    raise InputError("rivals.grpo: this version has no GRPO; remove the section")
