"""Keeps what engines took for the answers of a run or of a student, over all sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thickets.flows.runtime.environment import log
from thickets.flows.search.progress import ScoringProgress
from thickets.storage.files import write_text_atomically
from thickets.tasks.evaluation.cost import Times, Worked


def times_of(path: Path, progress: ScoringProgress) -> Times:
    """Return what engines took in the sessions that ended, and in this one so far."""
    return _sum(times_in(path), progress.times)


@contextmanager
def times_kept(path: Path, progress: ScoringProgress) -> Iterator[None]:
    """Add the session's times to those in a file however the session ends; a SIGKILL loses them."""
    try:
        yield
    finally:
        if progress.times:
            found = {
                name: [worked.n_answers, worked.seconds] for name, worked in sorted(times_of(path, progress).items())
            }
            write_text_atomically(path, json.dumps(found) + "\n")


def _sum(one: Times, other: Times) -> Times:
    return {name: one.get(name, Worked()) + other.get(name, Worked()) for name in {*one, *other}}


def times_in(path: Path) -> Times:
    """Return what a file holds, which may be absent; a damaged one costs no run, only the seconds in it."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: Worked(int(n_answers), float(seconds)) for name, (n_answers, seconds) in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning(f"{path} cannot be read, so seconds of earlier sessions are missing: {error}")
        return {}
