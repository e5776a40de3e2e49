"""The signals engine: a small network that continues one-dimensional signals, many candidates in one forward pass."""

from __future__ import annotations
