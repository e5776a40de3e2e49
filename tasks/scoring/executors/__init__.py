"""Executors score shards: on one engine of this process, on several of this machine, or on a Ray cluster."""

from __future__ import annotations

from thickets.tasks.scoring.executor import Executor
from thickets.tasks.scoring.executors.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor"]
