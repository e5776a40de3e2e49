"""Lines of TRL and its libraries that nobody can act on."""

from __future__ import annotations

import logging
import warnings


def leave_out_chatter(*, uses_vllm: bool = False) -> None:
    """Leave them out in this process. Call it before TRL is imported.

    Args:
        uses_vllm: Whether TRL samples by vLLM, so that the versions it supports matter.
    """
    if not uses_vllm:
        warnings.filterwarnings("ignore", message="TRL currently supports vLLM", category=UserWarning)
    # An adapter's checkpoint has a model card, of which only the trainer knows.
    logging.getLogger("huggingface_hub.repocard").setLevel(logging.ERROR)
