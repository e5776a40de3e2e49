"""Reads image files that nobody vouches for: few formats, bounded bytes and pixels, one way of turning and colouring.

Both engines get their pixels from here, so that an image is the same to both.
"""

from __future__ import annotations

import hashlib
import os
import stat
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from thickets.tasks.types import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""As Pillow names them; of a moving image the first frame counts."""
MOST_BYTES = 32 * 2**20
MOST_PIXELS = 50_000_000
"""A file of a few kilobytes can hold an image that fills a machine's memory."""
_WHITE = (255, 255, 255, 255)


class BadImageError(Exception):
    """What is wrong with an image, for a message that says which."""


def read_image(path: Path) -> bytes:
    """Read an image file.

    Raises:
        BadImageError: It cannot be read, is no plain file (a pipe would be waited for), or is too large.
    """
    try:
        # Looked at before it is opened: a pipe nobody writes to would hold the opening up.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BadImageError("it is not a plain file")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadImageError(f"it cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(data) > MOST_BYTES:
        raise BadImageError(f"it has more than {MOST_BYTES // 2**20} MiB; save it smaller")
    return data


def decode(data: bytes) -> Picture:
    """Decode an image to RGB, turned as its camera says, with white behind what is transparent.

    Raises:
        BadImageError: It is of no known format, damaged, or too large.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    if len(data) > MOST_BYTES:
        raise BadImageError(f"it has more than {MOST_BYTES // 2**20} MiB; save it smaller")
    try:
        with Pillow.open(BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise BadImageError(
                    f"it is {opened.width} x {opened.height}; at most {MOST_PIXELS // 10**6} million pixels are read"
                )
            turned = ImageOps.exif_transpose(opened)
            if turned.has_transparency_data:
                return Pillow.alpha_composite(Pillow.new("RGBA", turned.size, _WHITE), turned.convert("RGBA")).convert(
                    "RGB"
                )
            return turned.convert("RGB")
    except BadImageError:
        raise
    except Exception as error:
        # A decoder given damaged bytes raises whatever it comes upon.
        words = next(iter(str(error).splitlines()), "") or type(error).__name__
        if isinstance(error, Pillow.UnidentifiedImageError):
            words = f"not one of {', '.join(FORMATS)}"
        raise BadImageError(f"it cannot be read as an image ({words})") from None


def describe(data: bytes, path: Path, name: str) -> Image:
    """Return what a question needs of an image.

    Args:
        data: The file's bytes.
        path: Where they lie.
        name: What the data calls it.

    Raises:
        BadImageError: As `decode`.
    """
    picture = decode(data)
    return Image(hashlib.sha256(data).hexdigest(), str(path), name, picture.width, picture.height)


def load(image: Image) -> Picture:
    """Read an image of a question again, and decode it.

    Raises:
        BadImageError: It cannot be read, or is not what it was.
    """
    data = read_image(Path(image.path))
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise BadImageError("it has changed since the data was read")
    return decode(data)
