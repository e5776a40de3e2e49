"""Packs a run into one file, with everything that another machine needs to read it and to go on from it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

import yaml
import zstandard

from thickets.flows.housekeeping.archive import (
    CONTENTS,
    NOT_ARCHIVED,
    RUN,
    SHARDS,
    ArchivedFile,
    Contents,
    without_places,
)
from thickets.storage.errors import InputError, RunError
from thickets.storage.files import TEMPORARY_SUFFIX, atomic_path
from thickets.storage.home import Home, RunFolder
from thickets.storage.shards.file import list_shards
from thickets.storage.shards.uses import Uses, uses_of
from thickets.storage.tracking.store import store_of_home

_SUFFIX = ".tar.zst"


@dataclass(frozen=True, slots=True)
class _Member:
    """A file to pack: from the disk, or written anew because it names places of this machine."""

    name: str
    path: Path
    content: bytes | None = None

    def open(self) -> IO[bytes]:
        return self.path.open("rb") if self.content is None else io.BytesIO(self.content)


def export_run(home: Home, folder: RunFolder, target: Path, *, replace: bool = False) -> Contents:
    """Pack a run: configuration, identities, scores, completions, verdicts, report, manifest, distillations, rivals.

    Of shards that other runs use too, all are packed. Left out are what the run has logged elsewhere, and the base
    model and data files, which the configuration names.

    Args:
        home: The home of the run.
        folder: The run, finished or not.
        target: The file, which ends in ``.tar.zst``.
        replace: Whether an existing file is replaced.

    Raises:
        InputError: The target's name does not fit, it exists or cannot be written, or the run has recorded nothing.
        RunError: The run is in progress, or a file of it changed meanwhile.
    """
    if not target.name.endswith(_SUFFIX):
        raise InputError(f"FILE: found {target.name}; an exported run's name ends in {_SUFFIX}")
    if target.exists() and not replace:
        raise InputError(f"FILE: {target} exists; name another one")
    if home.is_locked(folder.run_id):
        raise RunError(f"run {folder.run_id} is in progress; export it when it has ended")
    uses = uses_of(home, folder)
    if not uses:
        raise InputError(f"RUN: nothing of {folder.run_id} was ever scored; there is nothing to export")
    members = [*_run_files(folder), *_shard_files(home, folder, uses)]
    config = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    contents = Contents(
        version=version("thickets"),
        run_id=folder.run_id,
        model=str(config.get("model")),
        files=tuple(_measured(member) for member in members),
    )
    try:
        with atomic_path(target) as temporary, temporary.open("wb") as packed:
            _pack(packed, contents, members)
    except OSError as error:
        raise InputError(f"FILE: cannot write {target}: {error.strerror or error}") from None
    return contents


def _run_files(folder: RunFolder) -> Iterator[_Member]:
    for path in sorted(folder.root.rglob("*")):
        inside = path.relative_to(folder.root)
        hidden = any(part.startswith(".") or part.endswith(TEMPORARY_SUFFIX) for part in inside.parts)
        work = inside.parts[0] in ("distillation", "rivals") and "work" in inside.parts
        if hidden or work or inside.as_posix() in NOT_ARCHIVED or path.is_symlink() or not path.is_file():
            continue
        yield _Member(f"{RUN}/{inside.as_posix()}", path, _rewritten(path, folder))


def _rewritten(path: Path, folder: RunFolder) -> bytes | None:
    """Return what a file says without the folders of this machine; None if it names none."""
    if path.name == "config.yaml":
        config = without_places(yaml.safe_load(path.read_text(encoding="utf-8")))
        return yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode()
    if path.name == "summary.json":
        summary = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(links := summary.get("tracking"), dict) and links.get("mlflow_uri") == store_of_home(folder):
            summary["tracking"] = {**links, "mlflow_uri": "", "mlflow_address": ""}
        return json.dumps({**summary, "folder": "."} if "folder" in summary else summary, indent=2).encode()
    if path.name == folder.unlogged.name:
        return b"\n"
    return None


def _shard_files(home: Home, folder: RunFolder, uses: Uses) -> Iterator[_Member]:
    elsewhere = Path(folder.shards.read_text(encoding="utf-8").strip()).parent if folder.shards.is_file() else None
    for name, known in uses.items():
        shards = home.shards(name) if elsewhere is None else elsewhere / name
        kept = sorted(path.name for path in shards.glob("verdicts-*")) if known is None else sorted(known)
        for inside in ("", *kept):
            for path in list_shards(shards / inside):
                yield _Member("/".join(filter(None, (SHARDS, name, inside, path.name))), path)


def _measured(member: _Member) -> ArchivedFile:
    digest, size = hashlib.sha256(), 0
    with member.open() as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return ArchivedFile(path=member.name, size=size, sha256=digest.hexdigest())


def _pack(packed: IO[bytes], contents: Contents, members: list[_Member]) -> None:
    head = contents.model_dump_json().encode()
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    with (
        compressor.stream_writer(packed, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        tar.addfile(_entry(CONTENTS, len(head)), io.BytesIO(head))
        for member, file in zip(members, contents.files, strict=True):
            with member.open() as content:
                watched = _Hashed(content)
                tar.addfile(_entry(file.path, file.size), watched)
            if watched.digest.hexdigest() != file.sha256:
                raise RunError(f"{member.path} changed while it was exported; nothing was written")


def _entry(name: str, size: int) -> tarfile.TarInfo:
    """Describe a plain file; owner, time and mode are the same for all, so that equal runs make equal files."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


class _Hashed:
    """Hashes what is read through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece
