"""Identity of a checkpoint's weights: hashed tensor by tensor, so that the division into files does not matter."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from thickets.storage.errors import InputError
from thickets.storage.files import write_text_atomically
from thickets.storage.fingerprint import canonical_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library
_CHUNK_BYTES = 1 << 24
_SAMPLES, _SAMPLE_BYTES = 32, 4096  # of a file, to tell that it is another


@dataclass(frozen=True, slots=True)
class WeightsIdentity:
    """The content of a checkpoint.

    Attributes:
        sha256: Over every tensor in order of its name: name, dtype, shape, bytes. The same weights have the same
            hash in one file or in ten, on any path. A tied tensor that is stored twice is hashed twice.
        size_bytes: Bytes of all tensors.
        n_parameters: Elements of all tensors.
    """

    sha256: str
    size_bytes: int
    n_parameters: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    file: Path
    dtype: str
    shape: list[int]
    start: int  # byte offsets in the file
    stop: int


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that Transformers would load from a model folder.

    Raises:
        InputError: There are none (the message names what there is instead), or the index names absent files.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        names = _indexed(folder / INDEX)
        files = [folder / name for name in names]
        absent = [path.name for path in files if not path.is_file()]
        if absent:
            raise InputError(f"model: {folder} lacks {', '.join(absent)}, which its index names")
        return files
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if pickles:
        raise InputError(
            f"model: {folder} holds only pickled weights ({pickles[0]}), which can run code when loaded; convert them "
            "with save_pretrained(..., safe_serialization=True) and name the new folder"
        )
    raise InputError(f"model: {folder} holds neither {WEIGHTS} nor {INDEX}")


def _indexed(path: Path) -> list[str]:
    """Return the names of the files that a safetensors index lists, all of its own folder."""
    try:
        names = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        if not names or not all(name not in ("", ".", "..") and Path(name).name == name for name in names):
            raise ValueError
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise InputError(f"model: {path} is no safetensors index") from None
    return sorted(names)


def save_tensors(tensors: Mapping[str, Any], target: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file with the permissions of any other new file.

    The library lets only the owner read it, and a server may run as another user.
    """
    from safetensors.torch import save_file

    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch()
    mode = target.stat().st_mode
    save_file(dict(tensors), target, metadata=dict(metadata or {"format": "pt"}))
    target.chmod(mode)


def identify_weights(folder: Path, memory: Path) -> WeightsIdentity:
    """Hash the weights of a model folder, or return the remembered hash while the files stay the same (`_key`).

    Args:
        folder: Holds safetensors files.
        memory: JSON file with the hashes of earlier calls; created if absent.

    Raises:
        InputError: The weights are absent or broken.
    """
    files = weight_files(folder)
    known = _recall(memory, files)
    if known is None:
        with _one_at_a_time(memory):
            known = _recall(memory, files)
            if known is None:
                known = asdict(_identify(files))
                _remember(memory, files, known)
    return WeightsIdentity(**known)


@contextmanager
def _one_at_a_time(memory: Path) -> Iterator[None]:
    """Let one process hash while others wait for what it finds: eight engines would read a large model eight times."""
    with ExitStack() as held:
        with suppress(OSError, NotImplementedError):  # a folder that is only read, or one without locks
            memory.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(memory.with_suffix(".lock")))
        yield


def hash_file(path: Path, memory: Path) -> str:
    """Return the SHA-256 of a file, remembered like ``identify_weights``."""
    known = _recall(memory, [path])
    if known is None:
        with path.open("rb") as file:
            known = {"file_sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        _remember(memory, [path], known)
    return str(known["file_sha256"])


def tensor_shapes(folder: Path) -> dict[str, list[int]]:
    """Read the names and shapes of a model folder's tensors from the headers of its files; no weight is read.

    Raises:
        InputError: The weights are absent or broken.
    """
    return {name: tensor.shape for path in weight_files(folder) for name, tensor in _read_header(path).items()}


def _identify(files: list[Path]) -> WeightsIdentity:
    tensors: dict[str, _Tensor] = {}
    for path in files:
        for name, tensor in _read_header(path).items():
            if name in tensors:
                raise InputError(f"model: {name} is in both {tensors[name].file.name} and {path.name}")
            tensors[name] = tensor
    digest = hashlib.sha256()
    maps: dict[Path, mmap.mmap] = {}
    try:
        for name in sorted(tensors):
            tensor = tensors[name]
            if tensor.file not in maps:
                with tensor.file.open("rb") as file:
                    maps[tensor.file] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            digest.update(canonical_json([name, tensor.dtype, tensor.shape]).encode("ascii") + b"\n")
            for start in range(tensor.start, tensor.stop, _CHUNK_BYTES):
                digest.update(maps[tensor.file][start : min(start + _CHUNK_BYTES, tensor.stop)])
    finally:
        for mapped in maps.values():
            mapped.close()
    return WeightsIdentity(
        sha256=digest.hexdigest(),
        size_bytes=sum(tensor.stop - tensor.start for tensor in tensors.values()),
        n_parameters=sum(math.prod(tensor.shape) for tensor in tensors.values()),
    )


def _read_header(path: Path) -> dict[str, _Tensor]:
    """Parse a safetensors header: 8 bytes of length, then JSON with dtype, shape and offsets after the header."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(size - 8, _MAX_HEADER_BYTES):
                raise ValueError
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        start = 8 + length
        tensors = {name: _tensor(path, start, entry) for name, entry in header.items()}
        if not tensors:
            raise InputError(f"model: {path} holds no tensors")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"model: {path} is no safetensors file") from None
    if max(tensor.stop for tensor in tensors.values()) != size:
        raise InputError(f"model: {path} is incomplete ({size} bytes do not fit its header); copy it again")
    return tensors


def _tensor(path: Path, start: int, entry: Mapping[str, Any]) -> _Tensor:
    """Read a header's entry; a ValueError or TypeError if it is none."""
    dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    counts = [*shape, begin, end] if isinstance(shape, list) else [None]
    if not isinstance(dtype, str) or any(type(count) is not int or count < 0 for count in counts) or begin > end:
        raise ValueError
    if (bits := re.search(r"\d+", dtype)) and math.prod(shape) * int(bits[0]) != 8 * (end - begin):  # F32, BF16, I8
        raise ValueError
    return _Tensor(path, dtype, shape, start + begin, start + end)


def _key(files: list[Path]) -> str:
    """Identify the content of files without reading them whole.

    Size and time of change alone would not: `rsync -t`, `cp -p` and tar give other weights the time of their source.
    The time of the last change to the inode (ctime) cannot be set; a sample of the bytes is for file systems without.
    """
    stats = [(path, path.stat()) for path in files]
    return canonical_json(
        [
            [os.path.realpath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, _sample(path)]
            for path, stat in stats
        ]
    )


def _sample(path: Path) -> str:
    """Hash some blocks of a file, evenly spread, the first and the last among them."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for number in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:32]


def _recall(memory: Path, files: list[Path]) -> dict[str, Any] | None:
    return _load(memory).get(_key(files))


def _remember(memory: Path, files: list[Path], found: dict[str, Any]) -> None:
    # Two processes may overwrite each other's line; the loser hashes again next time.
    write_text_atomically(memory, json.dumps({**_load(memory), _key(files): found}, indent=1))


def _load(memory: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(memory.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
