"""Keeps what engines took for the answers of a run, over all its sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from thickets.flows.runtime.environment import log
from thickets.flows.search.progress import ScoringProgress
from thickets.storage.files import write_text_atomically
from thickets.storage.home import RunFolder
from thickets.tasks.evaluation.cost import Times, Worked


def times_of(folder: RunFolder, progress: ScoringProgress) -> Times:
    """Return what engines took in the sessions that ended, and in this one so far."""
    return _sum(_read(folder), progress.times)


@contextmanager
def times_kept(folder: RunFolder, progress: ScoringProgress) -> Iterator[None]:
    """Add the session's times to those of the run's folder however the session ends; a SIGKILL loses them."""
    try:
        yield
    finally:
        if progress.times:
            found = {
                name: [worked.n_answers, worked.seconds] for name, worked in sorted(times_of(folder, progress).items())
            }
            write_text_atomically(folder.engine_time, json.dumps(found) + "\n")


def _sum(one: Times, other: Times) -> Times:
    return {name: one.get(name, Worked()) + other.get(name, Worked()) for name in {*one, *other}}


def _read(folder: RunFolder) -> Times:
    """Return what the folder holds; a damaged file costs no run, only the seconds in it."""
    try:
        found: dict[str, Any] = json.loads(folder.engine_time.read_text(encoding="utf-8"))
        return {name: Worked(int(n_answers), float(seconds)) for name, (n_answers, seconds) in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning(f"{folder.engine_time} cannot be read, so seconds of earlier sessions are missing: {error}")
        return {}
