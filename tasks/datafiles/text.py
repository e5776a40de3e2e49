"""From a file's bytes to its text: unpacks them, and tells their encoding."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from thickets.tasks.datafiles.source import Source

PACKED = (".gz", ".zst")
_MOST_BYTES = 2**30
"""What a packed file may unpack to: a few kilobytes can unpack to more than a machine has."""
_STEP = 2**12  # bytes of packed data, of which each can become some tens of thousands

# What a file begins with that is not what its name says.
_SIGNS = {
    b"\x1f\x8b": "it is packed by gzip; end its name in .gz",
    b"\x28\xb5\x2f\xfd": "it is packed by zstd; end its name in .zst",
    b"PK\x03\x04": "it is a .zip file or an Excel workbook; unpack it, or save it as .csv",
    b"PAR1": "it is a Parquet file; end its name in .parquet",
}
# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


def read_bytes(source: Source, path: Path, packing: str) -> bytes:
    """Read a file.

    Args:
        source: For errors.
        path: The file.
        packing: One of ``PACKED``, or empty.

    Raises:
        InputError: It cannot be read or unpacked, or it unpacks to more than a gigabyte.
    """
    try:
        if not packing:
            return path.read_bytes()
        data = _gzip(path) if packing == ".gz" else _zstd(path)
    except (OSError, EOFError, zlib.error) as error:
        raise source.error(
            f"not a readable {packing} file ({error})" if packing else f"it cannot be read ({error})"
        ) from None
    if len(data) > _MOST_BYTES:
        raise source.error(f"it unpacks to more than {_MOST_BYTES:,} bytes; unpack it yourself, and name that file")
    return data


def _gzip(path: Path) -> bytes:
    """Unpack a little more than is allowed, at most."""
    with gzip.open(path) as file:
        return file.read(_MOST_BYTES + 1)


def _zstd(path: Path) -> bytes:
    """Unpack a little more than is allowed, at most. A file may hold several frames; the last one must be whole."""
    import zstandard

    parts, size_bytes, whole = [], 0, True
    frame = zstandard.ZstdDecompressor().decompressobj()
    with path.open("rb") as file:
        while size_bytes <= _MOST_BYTES and (packed := file.read(_STEP)):
            while packed:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                try:
                    parts.append(frame.decompress(packed))
                except zstandard.ZstdError as error:
                    raise OSError(str(error)) from None
                size_bytes += len(parts[-1])
                packed, whole = frame.unused_data, frame.eof
    if not whole and size_bytes <= _MOST_BYTES:
        raise EOFError("it ends before its last frame does")
    return b"".join(parts)


def as_text(source: Source, data: bytes) -> str:
    """Decode a file: UTF-8, or what its byte order mark says; the mark is left out.

    Raises:
        InputError: It is neither, or it is not text at all; the message names the line.
    """
    for sign, what in _SIGNS.items():
        if data.startswith(sign):
            raise source.error(what)
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding.startswith("utf-8"):
            line = data.count(b"\n", 0, error.start) + 1
            byte = error.start - (data.rfind(b"\n", 0, error.start) + 1)
            raise source.error(
                f"not UTF-8 ({error.reason} at byte {byte}); save the file as UTF-8", f"line {line}"
            ) from None
        name = encoding.upper()
        raise source.error(
            f"its byte order mark says {name}, and it is not ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
