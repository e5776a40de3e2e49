"""The shard folder of a fingerprint: a folder that every machine of a run sees, or a URL (``s3://bucket/prefix``)."""

from __future__ import annotations

import logging
import os
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from thickets.storage.errors import InputError
from thickets.storage.files import TEMPORARY_SUFFIX, atomic_path, check_can_write, move
from thickets.storage.home import Home, timestamp
from thickets.storage.shards.checksum import parquet_with_checksum
from thickets.storage.shards.fetch import fetch
from thickets.storage.shards.file import (
    BROKEN_SUFFIX,
    SHARD_SCHEMA,
    SUFFIX,
    VERDICT_SCHEMA,
    check_shard,
    clean_temporaries,
    decode,
    list_shards,
    quarantine,
    read_whole,
    verdicts_name,
    write_shard,
)

log = logging.getLogger(__name__)

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)")
_LOCAL_SCHEMES = ("file", "local")
# One request puts an object there whole or not at all; a rename would be a copy and a deletion.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss"})


class ShardFolder(Protocol):
    """The shards of one fingerprint, or the verdicts on them under one judgement.

    Attributes:
        location: What `open_shard_folder` opens again, on any machine of the run.
    """

    location: str

    def holds(self, shard_id: str) -> bool:
        """Return whether the folder has the shard's file, which is whole if it is there."""

    def read(self, shard_id: str) -> pl.DataFrame | None:
        """Read a shard; None if it is absent or unreadable. An unreadable one is renamed to ``*.broken``."""

    def verdicts(self, judgement: str) -> ShardFolder:
        """Return the folder of the verdicts on these shards; see `thickets.storage.shards.file.verdicts_name`."""

    def write(self, shard_id: str, frame: pl.DataFrame) -> None:
        """Write a shard so that it exists whole or not at all; see `thickets.storage.shards.file.write_shard`."""

    def mirror(self, local: Path) -> None:
        """Copy the shards that `local` lacks into it, each whole or not at all; do nothing if `local` is the folder.

        An unreadable shard is not copied, and is renamed to ``*.broken`` in the shard folder.
        """

    def set_aside(self, local: Path) -> list[str]:
        """Move every shard with its verdicts, and the copies of them in `local`, to ``replaced``; delete nothing.

        Whether other runs have these answers too is for the caller to ask: see `thickets.storage.home.Home.sharers`.

        Returns:
            The folders that hold the moved shards, or nothing if there were none.
        """

    def clean_temporaries(self) -> None:
        """Delete the temporary files of killed writers."""


def shard_location(home: Home, fingerprint: str, root: str | None) -> str:
    """Return the shard folder of a fingerprint: an absolute path or a URL.

    Args:
        home: The home of the run.
        fingerprint: The fingerprint of the run's answers.
        root: ``storage.shards`` of the config: a folder, a URL, or None for a folder of `home`.
    """
    inside = home.shards(fingerprint)
    if root is None:
        return str(inside.absolute())
    return f"{root.rstrip('/')}/{inside.name}" if is_url(root) else str(_local_path(root) / inside.name)


def is_url(where: str) -> bool:
    """Return whether a location is a URL that only fsspec can open."""
    found = _URL.match(where)
    return found is not None and found[1] not in _LOCAL_SCHEMES


def open_shard_folder(location: str) -> ShardFolder:
    """Open a location from `shard_location` on this machine; nothing is created before the first shard.

    Raises:
        InputError: The URL's scheme is unknown, or its package is not installed here.
    """
    return RemoteShardFolder.open(location) if is_url(location) else LocalShardFolder(_local_path(location))


def check_writable(root: str) -> None:
    """Check that this machine can write to ``storage.shards``; a folder is not made before the first shard.

    Raises:
        InputError: It cannot, or the URL's scheme is unknown, or its package is not installed.
    """
    probe = f".write-check-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        if is_url(root):
            folder = RemoteShardFolder.open(root)
            folder.put(probe, b"")
            folder.remove(probe)
        else:
            check_can_write(_local_path(root))
    except InputError:
        raise
    except Exception as error:  # every file system behind fsspec has exceptions of its own
        detail = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"storage.shards: cannot write to {root}: {detail}") from None


class LocalShardFolder:
    """A shard folder on a disk of this machine or mounted on it."""

    def __init__(self, path: Path, schema: pl.Schema = SHARD_SCHEMA) -> None:
        self.path = path
        self.location = str(path.absolute())
        self._schema = schema

    def holds(self, shard_id: str) -> bool:
        """See `ShardFolder.holds`."""
        return (self.path / f"{shard_id}{SUFFIX}").is_file()

    def write(self, shard_id: str, frame: pl.DataFrame) -> None:
        """See `ShardFolder.write`."""
        write_shard(self.path, shard_id, frame, self._schema)

    def read(self, shard_id: str) -> pl.DataFrame | None:
        """See `ShardFolder.read`."""
        path = self.path / f"{shard_id}{SUFFIX}"
        frame = read_whole(path, self._schema)
        if frame is None and path.exists():
            quarantine(path)
        return frame

    def verdicts(self, judgement: str) -> LocalShardFolder:
        """See `ShardFolder.verdicts`."""
        return LocalShardFolder(self.path / verdicts_name(judgement), VERDICT_SCHEMA)

    def mirror(self, local: Path) -> None:
        """See `ShardFolder.mirror`; scores are read from the folder itself, so nothing is copied."""

    def set_aside(self, local: Path) -> list[str]:
        """See `ShardFolder.set_aside`; ``replaced`` is beside the folder, on its own disk if it is a link."""
        if not self.path.is_dir():
            return []
        real = self.path.resolve()
        target = real.parent / "replaced" / f"{self.path.name}-{timestamp()}"
        move(real, target)
        if self.path.is_symlink():
            real.mkdir()  # else the link would lead nowhere
        return [str(target)]

    def clean_temporaries(self) -> None:
        """See `ShardFolder.clean_temporaries`."""
        clean_temporaries(self.path)


class RemoteShardFolder:
    """A shard folder that fsspec opens (an object store, SFTP, ...); DuckDB reads the copies that `mirror` makes."""

    def __init__(
        self, filesystem: Any, path: str, location: str, *, puts_are_atomic: bool, schema: pl.Schema = SHARD_SCHEMA
    ) -> None:
        self.location = location
        self._schema = schema
        self._fs = filesystem
        self._path = path.rstrip("/")
        self._puts_are_atomic = puts_are_atomic

    @classmethod
    def open(cls, url: str) -> RemoteShardFolder:
        """Open a URL; credentials and endpoints come from the environment, as fsspec's packages read them.

        Raises:
            InputError: The scheme is unknown, or its package is not installed here.
        """
        import fsspec

        found = _URL.match(url)
        assert found is not None
        try:
            # A cached listing would miss the shards that other machines write.
            filesystem, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise InputError(f"storage.shards: {url} needs a package that is not installed: {error}") from None
        except ValueError as error:
            raise InputError(
                f"storage.shards: {url} cannot be used ({' '.join(str(error).split())}); "
                "give a folder, or a URL that fsspec knows, such as s3://bucket/prefix"
            ) from None
        return cls(filesystem, path, url, puts_are_atomic=found[1] in _OBJECT_STORES)

    def holds(self, shard_id: str) -> bool:
        """See `ShardFolder.holds`."""
        self._fs.invalidate_cache()
        return bool(self._fs.exists(f"{self._path}/{shard_id}{SUFFIX}"))

    def write(self, shard_id: str, frame: pl.DataFrame) -> None:
        """See `ShardFolder.write`."""
        check_shard(shard_id, frame, self._schema)
        self.put(f"{shard_id}{SUFFIX}", parquet_with_checksum(frame))

    def read(self, shard_id: str) -> pl.DataFrame | None:
        """See `ShardFolder.read`."""
        name = f"{shard_id}{SUFFIX}"
        try:
            content = self._fs.cat_file(f"{self._path}/{name}")
        except FileNotFoundError:
            return None
        frame = decode(content, self._schema)
        if frame is None:
            self._quarantine(name)
        return frame

    def verdicts(self, judgement: str) -> RemoteShardFolder:
        """See `ShardFolder.verdicts`."""
        name, atomic = verdicts_name(judgement), self._puts_are_atomic
        return RemoteShardFolder(
            self._fs,
            f"{self._path}/{name}",
            f"{self.location.rstrip('/')}/{name}",
            puts_are_atomic=atomic,
            schema=VERDICT_SCHEMA,
        )

    def put(self, name: str, content: bytes) -> None:
        """Write a file so that it exists whole or not at all; an existing one is replaced."""
        target = f"{self._path}/{name}"
        if self._puts_are_atomic:
            self._fs.pipe_file(target, content)
            return
        temporary = f"{self._path}/.{name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        self._fs.makedirs(self._path, exist_ok=True)
        try:
            self._fs.pipe_file(temporary, content)
            self._fs.mv(temporary, target)
        except Exception:
            if self._fs.exists(temporary):
                self._fs.rm_file(temporary)
            raise

    def remove(self, name: str) -> None:
        """Delete a file."""
        self._fs.rm_file(f"{self._path}/{name}")

    def mirror(self, local: Path) -> None:
        """See `ShardFolder.mirror`."""
        held = {path.name for path in list_shards(local)}
        shards = [name for name in self._names() if name.endswith(SUFFIX) and not name.startswith(".")]
        for path, content in fetch(self._fs, [f"{self._path}/{name}" for name in shards if name not in held]):
            name = path.rpartition("/")[2]
            if decode(content, self._schema) is None:
                self._quarantine(name)
                continue
            with atomic_path(local / name) as temporary:
                temporary.write_bytes(content)

    def set_aside(self, local: Path) -> list[str]:
        """See `ShardFolder.set_aside`; ``replaced`` is beside the folder, and beside `local` for the copies."""
        copies = LocalShardFolder(local).set_aside(local)
        names = self._all_names()
        if not names:
            return copies
        root, _, own_name = self._path.rpartition("/")
        kept = f"replaced/{own_name}-{timestamp()}"
        for name in names:
            if not self._puts_are_atomic:
                self._fs.makedirs(f"{root}/{kept}/{name}".rpartition("/")[0], exist_ok=True)
            self._fs.mv(f"{self._path}/{name}", f"{root}/{kept}/{name}")
        return [f"{self.location.rstrip('/').rpartition('/')[0]}/{kept}", *copies]

    def clean_temporaries(self, older_than_s: float = 3600.0) -> None:
        """See `ShardFolder.clean_temporaries`; younger files stay, because another run may be writing them."""
        if self._puts_are_atomic:
            return
        newest = datetime.now(UTC) - timedelta(seconds=older_than_s)
        for name in self._names():
            if not (name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)):
                continue
            try:
                modified = self._fs.modified(f"{self._path}/{name}")
            except (NotImplementedError, FileNotFoundError):
                continue  # the file system cannot say, or its writer has just finished
            if (modified if modified.tzinfo else modified.replace(tzinfo=UTC)) <= newest:
                self.remove(name)

    def _quarantine(self, name: str) -> None:
        self._fs.mv(f"{self._path}/{name}", f"{self._path}/{name}{BROKEN_SUFFIX}")
        log.warning(
            "shard %s is unreadable or damaged in %s; renamed, its units will be scored again", name, self._path
        )

    def _all_names(self) -> list[str]:
        """Return the files of the folder and of those in it, relative to the folder."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.find(self._path)
        except FileNotFoundError:
            return []
        inside = [str(path).partition(f"{self._path.strip('/')}/")[2] for path in found]
        return sorted(name for name in inside if name)

    def _names(self) -> list[str]:
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(self._path, detail=True)
        except FileNotFoundError:
            return []
        return sorted(str(entry["name"]).rpartition("/")[2] for entry in found if entry["type"] == "file")


def _local_path(where: str) -> Path:
    found = _URL.match(where)
    return Path(found[2] if found else where).expanduser().absolute()
