"""Questions and answers as they are found: files of every usual format, Hugging Face data sets, nested columns."""

from __future__ import annotations

from thickets.tasks.datafiles.formats import FORMATS
from thickets.tasks.datafiles.rows import read_rows
from thickets.tasks.datafiles.source import Row, Source

__all__ = ["FORMATS", "Row", "Source", "read_rows"]
