"""The form of an exported run: a tar file packed by zstd, whose first member says what the others are.

Members are plain files: ``run/...``, the run's folder, and ``shards/<name>/...``, its completions and verdicts. No file
says where its home was; the configuration still names the model and the data as they were named there.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from thickets.storage.home import ID
from thickets.storage.shards.file import SHARD_NAME

CONTENTS = "export.json"
RUN, SHARDS = "run", "shards"
NOT_ARCHIVED = ("run.lock", "shards", "started-in")
"""Files of a run's folder that are about the machine it lies on."""

_VERDICTS = re.compile(r"verdicts-[0-9a-f]{16}")


class ArchivedFile(BaseModel):
    """A file of the archive.

    Attributes:
        path: Relative, with slashes.
        size: Bytes.
        sha256: Of its content, 64 hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(max_length=1000)
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = path.split("/")
        odd = path in {f"{RUN}/{name}" for name in NOT_ARCHIVED} or any(
            part in ("", ".", "..") or "\\" in part or not part.isprintable() for part in parts
        )
        fits = len(parts) > 1 and (parts[0] == RUN or (parts[0] == SHARDS and _is_shard(parts[1:])))
        if odd or not fits or str(PurePosixPath(path)) != path:
            raise ValueError(f"{path!r} is no place in a run")
        return path


class Contents(BaseModel):
    """The first member, as JSON.

    Attributes:
        version: Of Thickets, which wrote it.
        model: As the configuration named it on the machine that made the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: str
    run_id: str = Field(pattern=f"^(?:{ID.pattern})$")
    model: str
    files: tuple[ArchivedFile, ...]

    @model_validator(mode="after")
    def _each_once(self) -> Contents:
        if len({file.path for file in self.files}) != len(self.files):
            raise ValueError("a path is listed twice")
        return self

    @property
    def n_bytes(self) -> int:
        """Of all files, unpacked."""
        return sum(file.size for file in self.files)


def without_places(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without the folders of this machine in which it keeps things."""
    storage = {name: value for name, value in (config.get("storage") or {}).items() if name not in ("home", "shards")}
    return {**config, "storage": storage} if storage else {k: v for k, v in config.items() if k != "storage"}


def _is_shard(parts: list[str]) -> bool:
    """Return whether the rest of a path is ``<folder>/<shard>`` or ``<folder>/verdicts-.../<shard>``."""
    folder, *inside = parts
    if not re.fullmatch(r"[0-9a-f]{16}", folder) or not inside or not SHARD_NAME.fullmatch(inside[-1]):
        return False
    return len(inside) == 1 or (len(inside) == 2 and _VERDICTS.fullmatch(inside[0]) is not None)
