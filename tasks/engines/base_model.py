"""Finds a base model's folder by its name: makes the signals models, and leaves all others to `resolve_model`."""

from __future__ import annotations

import os
from dataclasses import replace

from thickets.storage.errors import InputError
from thickets.storage.home import model_cache
from thickets.storage.models.base import BaseModelRef, resolve_model
from thickets.tasks.signals.recipe import RECIPES


def find_base_model(spec: str, revision: str | None = None, *, trust_remote_code: bool = False) -> BaseModelRef:
    """Find, download, convert or make a base model, and hash its weights.

    Args:
        spec: ``signals-needle``, ``signals-thicket`` or ``signals-plateau``, or what `resolve_model` takes.
        revision: As `resolve_model` takes it.
        trust_remote_code: As `resolve_model` takes it.

    Raises:
        InputError: If the model cannot be found, made or used.
    """
    name = spec.lower()
    if name not in RECIPES:
        if name.startswith("signals-") and not os.path.exists(os.path.expanduser(spec)):
            raise InputError(f"model: there is no {spec!r}; signals models are {', '.join(RECIPES)}")
        return resolve_model(spec, revision, trust_remote_code=trust_remote_code)
    if revision is not None:
        raise InputError(f"revision is {revision!r}, but {spec!r} is made here and has no revisions; remove it")
    from thickets.tasks.signals.pretraining import made_model  # PyTorch: seconds

    folder = made_model(name, RECIPES[name], model_cache())
    # The hash is what counts: pretraining may round otherwise on another kind of processor.
    return replace(resolve_model(str(folder)), name=spec, revision="made here")
