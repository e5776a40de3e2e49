"""Runs without figures, which most tests do not look at; and finished runs that are copied."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import thickets.flows.report.group as groups
import thickets.flows.report.render as rendering
from thickets.flows.publish import tracking
from thickets.storage.tracking.moved_home import follow_home

_svg, _plots, _drawn = rendering._svg, tracking.plots, groups.draw_group_figures


@contextmanager
def without_figures() -> Iterator[None]:
    """Write reports with an empty place for each figure, and log none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "_svg", lambda plot: "")
        patch.setattr(tracking, "plots", lambda *arguments: ())
        patch.setattr(groups, "draw_group_figures", lambda *arguments: [])
        yield


@contextmanager
def published() -> Iterator[None]:
    """Draw figures all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "_svg", _svg)
        patch.setattr(tracking, "plots", _plots)
        patch.setattr(groups, "draw_group_figures", _drawn)
        yield


def copy_home(home: Path, to: Path) -> None:
    """Copy a home; what names it names the copy, MLflow's database included."""
    shutil.copytree(home, to)
    for pattern in ("summary.json", "config.yaml", "tracking.json"):
        for path in (to / "runs").rglob(pattern):
            path.write_text(path.read_text().replace(str(home), str(to)))
    said = logging.getLogger(follow_home.__module__)
    said.disabled = True  # the test's own command is to be read
    follow_home(to / "mlflow.db")
    said.disabled = False
