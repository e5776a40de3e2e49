"""What a library raises on the broken files of a model, as one line about the model."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thickets.storage.errors import InputError, ThicketsError

# Transformers raises an OSError without a number for a file that it looks for in vain.
_NOT_THERE = (None, errno.ENOENT, errno.ENOTDIR)


@contextmanager
def broken_files(what: str, folder: Path, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn whatever a library raises while it reads a model's folder into an InputError.

    Args:
        what: What is read, for the message.
        folder: The model's.
        passing: What says nothing about the files, and is raised as it is: a drive that fails for a moment. An OSError
            about a file that is not there does say something.
    """
    try:
        yield
    except (ThicketsError, MemoryError):
        raise
    except Exception as error:  # the edge to libraries: a file that is cut off ends in any of a dozen types
        if "out of memory" in str(error):  # a GPU's
            raise
        if isinstance(error, passing) and not (isinstance(error, OSError) and error.errno in _NOT_THERE):
            raise
        reason = next(iter(str(error).strip().splitlines()), "")
        raise InputError(f"model: {what} in {folder} cannot be read ({type(error).__name__}: {reason})") from None
