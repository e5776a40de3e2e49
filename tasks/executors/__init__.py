"""Executors: where shards are scored, on one engine of this process or on many of a Ray cluster."""

from __future__ import annotations

from tasks.executors.base import Executor
from tasks.executors.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor"]
