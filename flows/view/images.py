"""The image that a question is about, if it lies beside the data still."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from thickets.flows.config.file import load_config
from thickets.storage.errors import InputError
from thickets.storage.home import RunFolder
from thickets.tasks.images import BadImageError, decode, read_image

_LARGEST = (1024, 1024)


def image_file(folder: RunFolder, name: str) -> Path | None:
    """Return where an image lies now; None where it is gone, or came as bytes of a data set.

    Args:
        folder: The run's.
        name: What the data calls it: a path from the data's folder, and not out of it.
    """
    try:
        data = load_config(str(folder.config)).single_problem.path
    except (InputError, OSError):
        return None
    if data is None or data.startswith("hf:"):
        return None
    try:
        beside = Path(data).resolve().parent
        found = (beside / name).resolve()
        return found if found.is_relative_to(beside) and found.is_file() else None
    except (OSError, ValueError):
        return None


def drawn_again(path: Path) -> bytes | None:
    """Return an image as a PNG of our own making, with nothing of the file but its pixels; None if it is none."""
    try:
        picture = decode(read_image(path))
    except BadImageError:
        return None
    picture.thumbnail(_LARGEST)
    drawn = BytesIO()
    picture.save(drawn, "PNG")
    return drawn.getvalue()
