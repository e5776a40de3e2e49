"""The rows of a Hugging Face data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from thickets.tasks.datafiles.source import Source

_PLACE = re.compile(r"hf:(?P<id>[^:@]+)(?::(?P<config>[^:@]+))?(?:@(?P<split>[^:@]+))?")


def hub_rows(source: Source) -> Iterable[Mapping[str, Any]]:
    """Load a data set from the hub, or from a local folder.

    Raises:
        InputError: The location is not of the form ``hf:owner/dataset[:config][@split]``, or it cannot be loaded.
    """
    where = _PLACE.fullmatch(source.location)
    if where is None:
        raise source.error("allowed is hf:owner/dataset[:config][@split], for example hf:openai/gsm8k:main@train")
    import datasets

    try:
        # No trust_remote_code, ever: a data set is data.
        rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(
            where["id"], name=where["config"], split=where["split"] or source.default_split
        )
    except Exception as error:
        # The edge to the network and to whatever the library builds on: it raises a dozen unrelated types.
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise source.error(
            f"Hugging Face data set cannot be loaded ({type(error).__name__}: {reason}); check its name, config, split "
            "and the network"
        ) from error
    return rows
