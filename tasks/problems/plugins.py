"""Problems of installed packages: entry points of the group ``thickets.problems``, each of which names a ``KIND``.

A package that cannot be used is one warning, and breaks no other problem. What judges is part of a run's identity, so a
problem of a package names its distribution with its version, and the hash of its module's source.
"""

from __future__ import annotations

import inspect
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from thickets.storage.errors import InputError
from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.kind import Kind
from thickets.tasks.types import JSON
from thickets.tasks.verifiers.own_code import described, shown
from thickets.tasks.verifiers.sources import source_sha256

GROUP = "thickets.problems"
_NAME = re.compile(r"[A-Za-z]\w{0,59}")

log = logging.getLogger("thickets")


class _Unusable(Exception):
    """Why an entry point gives no problem, on one line."""


def plugin_kinds(own: dict[str, Kind]) -> dict[str, Kind]:
    """Return the problems of installed packages by name; each one that cannot be used is a warning.

    Args:
        own: The problems that come with thickets, whose names are taken.
    """
    found: dict[str, Kind] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda each: (_source(each), each.name)):
        taken = found.get(point.name) or own.get(point.name)
        try:
            if taken is not None:
                raise _Unusable(f"the name is taken by {taken.source or 'thickets itself'}")
            found[point.name] = _kind(point)
        except _Unusable as why:
            log.warning("problem %r of %s cannot be used: %s", point.name, _source(point), why)
    return found


def _source(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def _kind(point: EntryPoint) -> Kind:
    try:
        kind = point.load()
    except (Exception, SystemExit) as error:
        raise _Unusable(f"{point.value} cannot be imported ({described(error)})") from error
    if not isinstance(kind, Kind):
        raise _Unusable(f"{point.value} is {shown(kind)}; it must be a thickets.tasks.problems.Kind")
    if kind.name != point.name or not _NAME.fullmatch(kind.name):
        raise _Unusable(
            f"its Kind is called {kind.name!r}; entry point and Kind must have one name, of letters, digits and '_'"
        )
    if unknown := sorted(set(kind.fields) - set(ProblemConfig.model_fields)):
        raise _Unusable(f"Kind.fields has {unknown[0]!r}, which is no field of the problem section")
    source = _source(point)
    identity: dict[str, JSON] = {"package": source, "source_sha256": _source_sha256(point.module)}
    return replace(kind, source=source, make=_making(kind, source, identity))


def _making(kind: Kind, source: str, identity: dict[str, JSON]) -> Callable[..., Problem]:
    def make(config: object) -> Problem:
        try:
            problem = kind.make(config)
            _add(problem, "identity", identity)
            _add(problem, "judgement", identity)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"problem.name is {kind.name!r}, of {source}, which cannot be made: {described(error)}"
            ) from error
        return problem

    return make


def _add(problem: Problem, name: str, more: dict[str, JSON]) -> None:
    """Let a method of a problem return more than it does."""
    method = getattr(problem, name)
    object.__setattr__(problem, name, lambda: {**method(), **more})


def _source_sha256(module: str) -> str | None:
    try:
        path = inspect.getsourcefile(sys.modules[module])
    except TypeError:
        return None
    return source_sha256(module, Path(path)) if path and Path(path).is_file() else None
