"""What a method gives the frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from thickets.flows.rivals.plan import RivalPlan
from thickets.tasks.results.cost import Cost
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.rivals import RivalPoint
from thickets.tasks.scoring.executors.ray_cluster import RayCluster


@dataclass(frozen=True, slots=True)
class StepValues:
    """What a method tells of a step between two points, for MLflow alone.

    Attributes:
        step: As in `RivalPoint`.
        values: By the names that they have in MLflow.
    """

    step: int
    values: Mapping[str, float]


OnPoint: TypeAlias = Callable[[RivalPoint | StepValues], None]


@dataclass(frozen=True, slots=True)
class Made:
    """What a method has made.

    Attributes:
        label: What people call it, with the settings that matter most.
        points: The way on the validation split, step 0 (the base, at no cost) first.
        ended: Why it ended, as a clause.
        cost: All that was spent.
    """

    label: str
    points: tuple[RivalPoint, ...]
    ended: str
    cost: Cost


class Method(Protocol):
    """Makes one model within a budget.

    It writes the model of `thickets.tasks.results.rivals.chosen_point` to ``plan.folder.model``, in the run's type of
    weights, and nothing else there; what it needs on the way lies in ``plan.folder.state`` and ``plan.folder.work``.
    Called again after it was killed, it goes on there; called again when it has ended, it only says what it has made.
    The test split is none of its business.
    """

    def __call__(self, plan: RivalPlan, base: Accuracy, cluster: RayCluster | None, on_point: OnPoint) -> Made:
        """Make the model.

        Args:
            plan: The rival.
            base: Accuracy of the base on the validation split.
            cluster: Where engines run, if not here.
            on_point: Told of every point after step 0, and of what is known of the steps between.
        """
