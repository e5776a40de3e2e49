"""The checksum inside a shard's file: a byte that a disk or a network has changed is noticed before it counts.

A Parquet file whose byte was flipped may open and give other numbers or another text. So the file's metadata holds the
SHA-256 of the whole file, of which these 64 digits are zeros while it is computed.
"""

from __future__ import annotations

import hashlib
import io

import polars as pl

_KEY = "thickets.sha256"
_N_DIGITS = 64
_ZEROS = b"0" * _N_DIGITS
# Between the key and the digits the footer (Thrift's compact protocol) has a byte for the field and one for the length.
_N_BETWEEN = 2


def parquet_with_checksum(frame: pl.DataFrame) -> bytes:
    """Return the bytes of a Parquet file with a checksum of all of them; equal frames give equal bytes."""
    file = io.BytesIO()
    frame.write_parquet(file, compression="zstd", metadata={_KEY: _ZEROS.decode()})
    content = file.getvalue()
    place = _place_of_digits(content)
    assert place is not None
    assert content[place : place + _N_DIGITS] == _ZEROS, "Polars writes the metadata's strings as they are"
    return content[:place] + _digits(content, place) + content[place + _N_DIGITS :]


def fits_checksum(content: bytes) -> bool:
    """Return whether a file's bytes are those that were written; True without a checksum, as older versions wrote."""
    place = _place_of_digits(content)
    return place is None or content[place : place + _N_DIGITS] == _digits(content, place)


def _place_of_digits(content: bytes) -> int | None:
    found = content.rfind(_KEY.encode())
    return None if found < 0 else found + len(_KEY) + _N_BETWEEN


def _digits(content: bytes, place: int) -> bytes:
    hashed = hashlib.sha256(memoryview(content)[:place])
    hashed.update(_ZEROS)
    hashed.update(memoryview(content)[place + _N_DIGITS :])
    return hashed.hexdigest().encode()
