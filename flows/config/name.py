"""The name of a run: what it may be, and the one that a configuration gets from its file."""

from __future__ import annotations

import hashlib
import logging
import re

from slugify import slugify

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")
"""A name is part of folder names and of URLs."""

_LONGEST = 41
_HASH_LENGTH = 6

log = logging.getLogger(__name__)


def name_of_file(stem: str) -> str:
    """Return a valid name that is made from a file's, and say so where it looks different.

    Other alphabets are transliterated and signs left out; of a name that is too long, or of which too little is left to
    tell it from others, the end is a hash of the whole.

    Args:
        stem: Name of the file without its suffix.
    """
    plain = stem.lower().replace(" ", "-")
    if NAME.fullmatch(plain):
        return plain
    name = slugify(stem, regex_pattern=r"[^a-z0-9._-]+").lstrip("._-")
    if not name or len(name) > _LONGEST:
        digest = hashlib.sha256(stem.encode(errors="surrogateescape")).hexdigest()[:_HASH_LENGTH]
        name = f"{name[: _LONGEST - _HASH_LENGTH - 1].rstrip('._-') or 'run'}-{digest}"
    log.info("name: %s, made from the file's name %r; `name:` in the file sets another", name, stem)
    return name
