"""Remembers which models' weights fit their configs: finding out imports PyTorch and the model's code, for seconds."""

from __future__ import annotations

import contextlib
import hashlib
import json
from importlib.metadata import version

from thickets.storage.files import write_text_atomically
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import model_cache
from thickets.storage.models.base import BaseModelRef
from thickets.tasks.engines.model_kinds import kind_of

_MEMORY = "fitting.json"


def check_weights(base: BaseModelRef, *, trust_remote_code: bool = False) -> None:
    """Check that a language model's weights fit its config; at once for one that was found to fit before.

    Raises:
        InputError: They do not fit.
    """
    if not kind_of(base.path).is_language_model:
        return
    memory, key = model_cache() / _MEMORY, _key(base)
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    known = known if isinstance(known, list) else []
    if key in known:
        return
    from thickets.tasks.engines.checkpoint import check_weights_fit

    check_weights_fit(base.path, trust_remote_code=trust_remote_code)
    with contextlib.suppress(OSError):  # then it is found out again next time
        write_text_atomically(memory, json.dumps([*known, key]))


def _key(base: BaseModelRef) -> str:
    config = hashlib.sha256((base.path / "config.json").read_bytes()).hexdigest()
    return fingerprint({"weights": base.sha256, "config": config, "transformers": version("transformers")})
