"""Executors: where shards are scored: on one engine of this process, on several of this machine, or on Ray."""

from __future__ import annotations

from tasks.executors.base import Executor
from tasks.executors.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor"]
