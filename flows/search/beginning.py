"""Records in a run's folder its prompts, when work on it last began, and why its configuration was refused before any.

`thickets runs` and the name `latest` go by it: a start that finds nothing left to do is no work, and neither is one
whose engine cannot be built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from thickets.flows.search.progress import ScoringProgress
from thickets.storage.errors import InputError
from thickets.storage.files import atomic_path, write_text_atomically
from thickets.storage.home import RunFolder
from thickets.tasks.aggregation import prompts_frame
from thickets.tasks.engines.prompts import Template
from thickets.tasks.scoring.units import Block


@contextmanager
def recorded(folder: RunFolder, progress: ScoringProgress) -> Iterator[Callable[[], None]]:
    """Record the beginning of a session's work.

    Args:
        folder: The run's.
        progress: Counts what the session scores.

    Yields:
        A function to call when something is about to be scored. It is taken back if the block fails before the first
        answer; a kill or Ctrl-C at that time leaves it, for work had begun.
    """
    folder.refused.unlink(missing_ok=True)
    before = folder.begun.read_text(encoding="utf-8") if folder.begun.is_file() else None
    is_new = not folder.summary.is_file()
    has_begun = False

    def begin() -> None:
        nonlocal has_begun
        if not has_begun:
            has_begun = True
            write_text_atomically(folder.begun, f"{datetime.now(UTC).isoformat(timespec='milliseconds')}\n")

    try:
        yield begin
    except Exception as error:
        if not progress.engine.n_answers:
            _restore(folder, before)
            if before is None and is_new and isinstance(error, InputError):
                write_text_atomically(folder.refused, f"{error}\n")
        raise
    if is_new:
        begin()  # another run may have scored all of it, and yet this one is new


def record_prompts(folder: RunFolder, blocks: Iterable[Block], template: Template) -> None:
    """Record the prompts of the run's examples, for whoever reads the run; every session of it has the same."""
    if not folder.prompts.is_file():
        with atomic_path(folder.prompts) as temporary:
            prompts_frame(blocks, template).write_parquet(temporary, compression="zstd")


def _restore(folder: RunFolder, before: str | None) -> None:
    if before is None:
        folder.begun.unlink(missing_ok=True)
    else:
        write_text_atomically(folder.begun, before)
