"""The text that perplexity is measured on: plain prose that has nothing to do with any task."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from thickets.storage.errors import InputError


def generic_text(path: Path | None) -> str:
    """Return the text of a file, or the one that comes with the package: some 2,000 words of English prose, our own.

    Raises:
        InputError: The file cannot be read, or is not text.
    """
    if path is None:
        return resources.files("thickets.tasks.distillation").joinpath("generic_text.txt").read_text(encoding="utf-8")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"distillation.generic_text: cannot read {path}: {reason}") from None
    if len(text.split()) < 2:
        raise InputError(f"distillation.generic_text: {path} holds {len(text.split())} words; a few hundred are needed")
    return text
