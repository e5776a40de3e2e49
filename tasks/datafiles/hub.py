"""The rows of a Hugging Face data set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from thickets.tasks.datafiles.source import Source

_PLACE = re.compile(r"hf:(?P<id>[^:@]+)(?::(?P<config>[^:@]+))?(?:@(?P<split>[^:@]+))?")
# As the hub names data sets; the owner is left out of its oldest ones.
_HUB_ID = re.compile(r"(?:[A-Za-z0-9_][\w.-]*/)?[A-Za-z0-9_][\w.-]*", re.ASCII)
_MOST_ENTRIES = 10_000
"""Of a local folder: the library walks all of it, which takes minutes for a home or a disk."""


def hub_rows(source: Source) -> Iterable[Mapping[str, Any]]:
    """Load a data set from the hub, or from a local folder.

    Raises:
        InputError: The location is not of the form ``hf:owner/dataset[:config][@split]``, or it cannot be loaded.
    """
    rows: Iterable[Mapping[str, Any]] = _load(source)
    return rows


def label_names(source: Source) -> tuple[str, ...]:
    """Return the names that a data set has for the numbers in its column of answers; none where it has none.

    Raises:
        InputError: As `hub_rows`.
    """
    if not source.location.startswith("hf:"):
        return ()
    return tuple(getattr(_load(source).features.get(source.answer_column), "names", ()))


def _load(source: Source) -> Any:
    where = _PLACE.fullmatch(source.location)
    if where is None:
        raise source.error("allowed is hf:owner/dataset[:config][@split], for example hf:openai/gsm8k:main@train")
    place = _checked(source, where["id"])
    import datasets

    try:
        # No trust_remote_code, ever: a data set is data.
        rows: Any = datasets.load_dataset(place, name=where["config"], split=where["split"] or source.default_split)
        if source.image_column is not None and source.image_column in rows.features:
            # As they are stored: the library would decode every format that Pillow knows, and fetch addresses.
            stored = _undecoded(rows.features[source.image_column])
            rows = rows.cast_column(source.image_column, stored)
    except Exception as error:
        # The edge to the network and to whatever the library builds on: it raises a dozen unrelated types.
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise source.error(
            f"Hugging Face data set cannot be loaded ({type(error).__name__}: {reason}); check its name, config, split "
            "and the network"
        ) from error
    return rows


def _undecoded(feature: Any) -> Any:
    import datasets

    return datasets.Image(decode=False) if isinstance(feature, datasets.Image) else feature


def _checked(source: Source, place: str) -> str:
    """Return a hub id or an existing folder that can be a data set's; whatever else it is, is told at once.

    Raises:
        InputError: It is neither.
    """
    folder = Path(os.path.expanduser(place))
    if os.path.isfile(folder):
        raise source.error(f"{place} is a file, whose name stands here without hf:")
    if os.path.isdir(folder):
        if _has_more_entries(folder, _MOST_ENTRIES):
            raise source.error(
                f"{folder.resolve()} holds more than {_MOST_ENTRIES:,} files and folders; name the folder of the data "
                "set itself"
            )
        return str(folder)
    if not _HUB_ID.fullmatch(place) or ".." in place or "--" in place:
        raise source.error(
            f"there is no folder {place}, and it cannot be a hub id; allowed is hf:owner/dataset[:config][@split], or "
            "hf: and an existing folder"
        )
    return place


def _has_more_entries(folder: Path, most: int) -> bool:
    """Return whether a folder holds more than so many entries at any depth; stops looking when it does."""
    left, waiting = most, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    left -= 1
                    if left < 0:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
        except OSError:  # one that cannot be read holds nothing for the library either
            continue
    return False
