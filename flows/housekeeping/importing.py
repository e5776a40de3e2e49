"""Unpacks an exported run into a home; nothing is there before every byte has been checked.

The file may come from anywhere: a member that is no plain file, leaves the folder, was not announced or is not what was
announced is refused, and no more is unpacked than the first member says.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import yaml
import zstandard
from pydantic import ValidationError

from thickets.flows.housekeeping.archive import CONTENTS, RUN, SHARDS, ArchivedFile, Contents, without_places
from thickets.storage.errors import InputError
from thickets.storage.files import atomic_path, temporary_beside
from thickets.storage.home import Home, RunFolder
from thickets.storage.tracking.store import store_of_home

_CONTENTS_BYTES = 256 << 20  # a file is about 150 bytes of it
_ROOM_PER_FILE = 16 << 10  # of the tar file: header, extended header, padding
_PIECE = 1 << 20


def read_contents(source: Path) -> Contents:
    """Read what an exported run says it holds; the rest of it is not looked at.

    Raises:
        InputError: It is no exported run.
    """
    with _opened(source) as (tar, _):
        return _contents(tar, source)


def import_run(home: Home, source: Path) -> RunFolder:
    """Unpack an exported run into a home, and return its folder there.

    Shards that the home has already are left as they are.

    Args:
        home: Created if absent.
        source: As `thickets.flows.housekeeping.exporting.export_run` writes it.

    Raises:
        InputError: It is no exported run, or is damaged; the home has the run already, or other answers under the names
            of its shards; or the disk has no room for it.
    """
    scratch = temporary_beside(home.writable().root / "import")
    try:
        with _opened(source) as (tar, limit):
            contents = _contents(tar, source)
            folder = home.run(contents.run_id)
            if folder.root.exists():
                raise InputError(f"FILE: {source} holds run {contents.run_id}, which is in {home.root} already")
            if (free := shutil.disk_usage(home.root).free) < contents.n_bytes:
                raise InputError(
                    f"FILE: {source} unpacks to {contents.n_bytes:,} bytes, and {home.root} has {free:,} left"
                )
            limit.raise_to(contents.n_bytes + len(contents.files) * _ROOM_PER_FILE)
            scratch.mkdir()
            _unpack(tar, contents, scratch, source)
        _check_shards(home, contents, source)
        _move(home, contents, scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def places_to_name(folder: RunFolder) -> list[str]:
    """Return the fields of a run's configuration that name a file or folder which this machine does not have."""
    config = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    problem = config.get("problem") if isinstance(config.get("problem"), dict) else {}
    named = {"model": config.get("model"), **{f"problem.{key}": problem.get(key) for key in ("path", "test_path")}}
    return [
        f"{field}={value}"
        for field, value in named.items()
        if _is_a_path(value) and not Path(value).expanduser().exists()
    ]


def _is_a_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("/", "./", "../", "~"))


class _Limited:
    """Unpacks no more than is allowed: a small file may unpack to more than any disk or memory has."""

    def __init__(self, stream: Any, limit: int, source: Path) -> None:
        self._stream, self._left, self._source = stream, limit, source

    def raise_to(self, limit: int) -> None:
        """Allow so many bytes more."""
        self._left += limit

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > self._left:
            size = self._left + 1
        piece = bytes(self._stream.read(size))
        self._left -= len(piece)
        if self._left < 0:
            raise InputError(f"FILE: {self._source} unpacks to more than it says")
        return piece


@contextmanager
def _opened(source: Path) -> Iterator[tuple[tarfile.TarFile, _Limited]]:
    """Open the packed tar file for reading from its beginning to its end; errors name it.

    Raises:
        InputError: It is absent, unreadable, not packed by zstd, no tar file, or cut off.
    """
    try:
        with source.open("rb") as file:
            stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file, read_across_frames=False)
            limit = _Limited(stream, _CONTENTS_BYTES + _ROOM_PER_FILE, source)
            with tarfile.open(fileobj=limit, mode="r|") as tar:  # type: ignore[call-overload]
                yield tar, limit
    except (zstandard.ZstdError, tarfile.TarError, EOFError) as error:
        raise InputError(f"FILE: {source} is no exported run, or is damaged: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise InputError(f"FILE: cannot read {source}: {error.strerror or error}") from None


def _contents(tar: tarfile.TarFile, source: Path) -> Contents:
    first = tar.next()
    if first is None or first.name != CONTENTS or not first.isreg() or first.size > _CONTENTS_BYTES:
        raise InputError(f"FILE: {source} is no exported run: {CONTENTS} is not its first member")
    try:
        return Contents.model_validate_json(_content(tar, first).read())
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(map(str, found["loc"]))
        raise InputError(f"FILE: {source} is no exported run of this version: {where}: {found['msg']}") from None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None  # it is a plain file
    return content


def _unpack(tar: tarfile.TarFile, contents: Contents, scratch: Path, source: Path) -> None:
    wanted = {file.path: file for file in contents.files}
    while (member := tar.next()) is not None:
        file = wanted.pop(member.name, None)
        if file is None or not member.isreg() or member.size != file.size:
            raise InputError(f"FILE: {source} holds {member.name!r}, which is not what it says it holds")
        if _copy(_content(tar, member), scratch / file.path) != file.sha256:
            raise InputError(f"FILE: {source} is damaged: {file.path} has another checksum")
    if wanted:
        raise InputError(f"FILE: {source} is cut off: {next(iter(wanted))} is missing")


def _copy(content: IO[bytes], target: Path) -> str:
    """Write a file and return the SHA-256 of what was written."""
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        while piece := content.read(_PIECE):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _check_shards(home: Home, contents: Contents, source: Path) -> None:
    """Check that what the home has of these shards is the same: two machines' answers to a question may differ."""
    for file, target in _shards(home, contents):
        if target.is_file() and _sha256(target) != file.sha256:
            raise InputError(
                f"FILE: {source} and {home.root} both have {file.path}, with other answers; import it into another home"
            )


def _move(home: Home, contents: Contents, scratch: Path, folder: RunFolder) -> None:
    """Move the shards into place, and the run's folder last: whatever a kill leaves is no run."""
    for file, target in _shards(home, contents):
        if not target.is_file():
            with atomic_path(target) as temporary:
                shutil.move(scratch / file.path, temporary)
    _settle(home, scratch / RUN, folder)
    (scratch / RUN / "figures").mkdir(exist_ok=True)
    folder.root.parent.mkdir(parents=True, exist_ok=True)
    beside = temporary_beside(folder.root)
    shutil.move(scratch / RUN, beside)
    beside.rename(folder.root)


def _settle(home: Home, unpacked: Path, folder: RunFolder) -> None:
    """Name this home where the files name the one in which they lie."""
    for path in unpacked.rglob("config.yaml"):
        config = without_places(yaml.safe_load(path.read_text(encoding="utf-8")))
        config["storage"] = {"home": str(home.root.absolute()), **config.get("storage", {})}
        path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    for path in unpacked.rglob("summary.json"):
        summary = json.loads(path.read_text(encoding="utf-8"))
        inside = path.parent.relative_to(unpacked)
        if "folder" in summary:
            summary["folder"] = str(folder.root.absolute() / inside)
        links = summary.get("tracking")
        if isinstance(links, dict) and links.get("mlflow_uri") == "":  # it was logged in the home that it comes from
            how = "" if inside.parts else f"; to log it: thickets log {folder.run_id}"
            links |= {"mlflow_uri": store_of_home(folder), "mlflow_address": f"not in this home's MLflow{how}"}
        path.write_text(json.dumps(summary, indent=2), encoding="utf-8")


def _shards(home: Home, contents: Contents) -> Iterator[tuple[ArchivedFile, Path]]:
    for file in contents.files:
        top, *inside = file.path.split("/")
        if top == SHARDS:
            yield file, home.shards(inside[0]).joinpath(*inside[1:])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
