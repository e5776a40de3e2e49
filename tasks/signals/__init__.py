"""One-dimensional signals: families of waves, their values as text, and the small networks that continue them.

The signals problem asks with `families` and `values`, and the signals engine runs `network`. Knows no engine; only
`network` and `pretraining` need PyTorch.
"""

from __future__ import annotations
