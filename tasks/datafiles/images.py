"""Reads the column of images: paths below the data's folder, or the bytes that a data set holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from thickets.storage.files import atomic_path
from thickets.storage.home import model_cache
from thickets.tasks.datafiles.columns import kind
from thickets.tasks.datafiles.source import Source
from thickets.tasks.images import BadImageError, describe, read_image
from thickets.tasks.types import Image

_LONGEST_SHOWN = 80  # characters of a path, in a message


class ImageColumn:
    """The images of one source; each file is read once, however many questions are about it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._folder = folder_of(source)
        self._seen: dict[str, Image] = {}  # by what the data calls a file
        self._stored: dict[str, Image] = {}  # by their content

    def read(self, place: str, value: Any) -> Image:
        """Return the image of a row.

        Args:
            place: The row's, for errors.
            value: What the column holds: a path, bytes, or a mapping with either, as the ``datasets`` library stores
                images.

        Raises:
            InputError: It is none of these, lies outside the data's folder, or cannot be read as an image.
        """
        if isinstance(value, Mapping) and {"bytes", "path"} & value.keys():
            data, path = value.get("bytes"), value.get("path")
            value = data if data is not None else path
            name = path if isinstance(path, str) and path else None
        else:
            name = None
        try:
            if isinstance(value, (bytes, bytearray, memoryview)):
                return self._of_bytes(bytes(value), name)
            if isinstance(value, str) and value.strip():
                return self._of_path(value.strip())
        except BadImageError as error:
            raise self._source.error(f"{self._what(name or value)}: {error}", place) from None
        raise self._source.error(
            f"column {self._source.image_column!r} holds {kind(value)}; it must be the path of an image, or its bytes",
            place,
        )

    def _what(self, value: Any) -> str:
        shown = f" {value[:_LONGEST_SHOWN]!r}" if isinstance(value, str) else ""
        return f"the image{shown} in column {self._source.image_column!r}"

    def _of_path(self, name: str) -> Image:
        if name not in self._seen:
            path = self._inside(name)
            self._seen[name] = describe(read_image(path), path, _shown(name))
        return self._seen[name]

    def _inside(self, name: str) -> Path:
        """Return where a file really lies, once every link is followed.

        Raises:
            BadImageError: That is not below the data's folder, which is as far as a data file may point.
        """
        if "://" in name:
            raise BadImageError("it is an address; nothing is fetched: put the files beside the data")
        if self._folder is None:
            raise BadImageError("the data set holds its path alone; only the bytes of a hub's images are read")
        root = os.path.realpath(self._folder)
        try:
            real = os.path.realpath(os.path.join(root, name))
        except ValueError as error:  # a NUL
            raise BadImageError(f"it cannot be read ({error})") from None
        if os.path.commonpath([root, real]) != root:
            raise BadImageError(f"it lies outside {root}, the folder of the data; put it below that folder")
        return Path(real)

    def _of_bytes(self, data: bytes, name: str | None) -> Image:
        """Lay an image's bytes where every engine of this machine finds them, under a name of their content."""
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self._stored:
            path = model_cache() / "images" / sha256[:2] / sha256
            self._stored[sha256] = describe(data, path, sha256[:16])
            if not path.is_file() or path.stat().st_size != len(data):
                with atomic_path(path) as temporary:
                    temporary.write_bytes(data)
        image = self._stored[sha256]
        return replace(image, name=_shown(name)) if name else image


def folder_of(source: Source) -> Path | None:
    """Return the folder below which a source's images may lie; None: it is a hub's data set and has none."""
    if not source.location.startswith("hf:"):
        return Path(os.path.expanduser(source.location)).parent
    place = source.location.removeprefix("hf:").partition("@")[0].partition(":")[0]
    folder = Path(os.path.expanduser(place))
    return folder if folder.is_dir() else None


def _shown(name: str) -> str:
    """Return a file's name in one line, without the folders of this machine."""
    bare = os.path.basename(name) if os.path.isabs(name) else name
    return "".join(character if character.isprintable() else "?" for character in bare)
