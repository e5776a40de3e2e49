"""One-dimensional signals: families of waves, and how their values are written as text.

What the signals problem asks and what the signals engine reads; needs neither PyTorch nor an engine.
"""

from __future__ import annotations
