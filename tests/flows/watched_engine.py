"""Real engines that a test is told of, unit by unit, so that something can happen in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thickets.tasks.engines import Engine, EngineSpec, build_engine
from thickets.tasks.engines.base import TokenEngine


def engine_that_tells(before: Callable[[int], None]) -> Callable[[EngineSpec], Engine]:
    """How to build an engine that calls `before` with the number of the unit, from 1, before it generates it.

    Engines built by the same function count on, as those do that follow one that has failed.
    """
    n_asked = 0

    def build(spec: EngineSpec) -> Engine:
        engine = build_engine(spec)
        method = "generate_tokens" if isinstance(engine, TokenEngine) else "generate"
        generate = getattr(engine, method)

        def told(*arguments: Any) -> Any:
            nonlocal n_asked
            n_asked += 1
            before(n_asked)
            return generate(*arguments)

        setattr(engine, method, told)
        return engine

    return build


def engine_that_ends_after(n_units: int) -> Callable[[EngineSpec], Engine]:
    """How to build an engine that answers so many units and fails at every further one."""

    def end(number: int) -> None:
        if number > n_units:
            raise RuntimeError("planted")

    return engine_that_tells(end)
