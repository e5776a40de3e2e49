"""Work-arounds for vLLM 0.32, each with its reason; everything else about vLLM is in `vllm` and `vllm_worker`."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from thickets.tasks.allocator import large_pieces_kept

_ENVIRONMENT = {
    # The engine core in this process: on one device a candidate is a function call away.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Binding threads to cores helps on a machine of one's own and is ruinous beside others: two engines get one core.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # The processes of a divided model are started anew: one that has asked CUDA for its devices cannot be forked.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # standard output is for results
    "VLLM_NO_USAGE_STATS": "1",
}
CPU_BLOCK = 32  # tokens; on the CPU a block must be a multiple of 32


def set_environment() -> None:
    """Set the variables that vLLM reads when it is imported; those that are set already stay."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def search_only_vllm_modules() -> None:
    """Keep vLLM 0.32 on the CPU from failing over objects of other libraries.

    It looks for its kernels in the ``__dict__`` of every object in every module that is loaded. Numba's handle of its C
    library answers that name with a function, and Flask's proxies (loaded with MLflow's server, say) with an error.
    """
    from vllm.triton_utils import dispatcher

    class VllmModules:
        @property
        def modules(self) -> dict[str, Any]:
            return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "vllm"}

        def __getattr__(self, name: str) -> Any:
            return getattr(sys, name)

    dispatcher.sys = VllmModules()


@contextmanager
def quiet_start(threads: int | None) -> Iterator[None]:
    """Set PyTorch's number of threads, silence vLLM's FutureWarnings, and undo what vLLM does to PyTorch.

    vLLM replaces `torch.set_num_threads` for the whole process while it starts.
    """
    set_num_threads = torch.set_num_threads
    if threads is not None:
        set_num_threads(threads)
    try:
        warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")
        yield
    finally:
        torch.set_num_threads = set_num_threads


def kv_cache_bytes(config: Any, dtype: torch.dtype, max_length: int, batch_size: int) -> int:
    """Room on the CPU for a full batch of the longest rows; vLLM's own choice is most of the machine's memory."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    per_token = 2 * text.num_hidden_layers * heads * width * dtype.itemsize
    rows = batch_size + 1
    return int(per_token * rows * (max_length + 2 * CPU_BLOCK)) + (1 << 24)


def clear_prefix_cache(llm: Any) -> None:
    """Forget the keys and values of prompt beginnings: they outlive a reload, but belong to the previous weights.

    Raises:
        RuntimeError: vLLM refused.
    """
    if not llm.reset_prefix_cache():
        raise RuntimeError("vLLM did not clear its prefix cache, so answers would be the previous candidate's")


def seeds_all_requests_at_once(*, on_cpu: bool) -> bool:
    """Return whether all requests must draw from one generator instead of one each.

    On the CPU a request's own seed fails once its prompt is computed in pieces (CPU generators have no offset). All
    draw from one generator in the same order every time, because the engine core runs in this process.
    """
    return on_cpu


@contextmanager
def heard_while_reloading() -> Iterator[list[str]]:
    """Collect what vLLM says of weights that a reload did not bring, which it only warns of; nothing is printed.

    It says so of every layer that gets no tensor under its own name, harmless ones (a tied head, rotary embeddings)
    included, and leaves such a layer with the previous candidate's weights.
    """
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            arguments = record.args if isinstance(record.args, tuple) else (record.args,)
            said.append(str(record.msg) % tuple(sorted(a) if isinstance(a, set | frozenset) else a for a in arguments))

    listener = Listener(logging.WARNING)
    loggers = [
        logging.getLogger(f"vllm.model_executor.model_loader.reload.{name}") for name in ("layerwise", "inplace")
    ]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(listener)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    try:
        yield said
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(listener)
            logger.setLevel(level)
            logger.propagate = propagate


def tied_heads(model: torch.nn.Module) -> Iterator[Any]:
    """Yield output layers whose weight is another layer's, which vLLM's reload does not process."""
    owners: dict[int, torch.nn.Module] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, torch.nn.Parameter) or weight.numel() == 0:
            continue
        if weight.data_ptr() in owners and hasattr(module, "quant_method"):
            yield module
        owners.setdefault(weight.data_ptr(), module)


def pack_again(module: Any) -> None:
    """Have vLLM derive what a layer computes with from its weights (on the CPU: a packed copy) once more.

    A reload does not do so for a tied head, since it fills the shared embedding only: without this the head would still
    be the previous candidate's. The old copy goes first, so that the new one takes its place: with two at once, and
    with fresh pages for every large one, packing a head takes twice as long.
    """
    vars(module).pop("cpu_linear", None)
    with large_pieces_kept():
        module.quant_method.process_weights_after_loading(module)
