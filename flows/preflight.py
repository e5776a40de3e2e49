"""Cheap checks before anything slow starts, so that a typing mistake is told in a second and not in a minute."""

from __future__ import annotations

from flows.config import RunConfig
from storage.layout import Home
from storage.models import check_model
from tasks.problems import load_problem
from tasks.splits import draw_splits


def check_inputs(config: RunConfig) -> None:
    """Check the folder, the model's whereabouts, the data and the split sizes.

    Raises:
        InputError: What cannot be used, by the name of its field.
    """
    Home(config.storage.home).writable()
    check_model(config.model)
    data = config.data
    draw_splits(
        load_problem(config.problem),
        selection=data.selection,
        validation=data.validation,
        test=data.test,
        seed=data.seed,
    )
