"""Plans a GPU's memory before anything is loaded onto it: a pure function of the card, the model and the settings.

A plan holds the weights, the untouched base they are perturbed from (on the card, or in host memory where it does not
fit), what a load or a step needs beside them, and keys and values for the rows of a batch. No memory setting is part of
a run's identity.

The constants are estimates: no plan has been compared with a card yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from thickets.storage.errors import InputError
from thickets.tasks.engines.model_size import ModelSize

GIB = 1 << 30
# Tokens that vLLM computes in one step, at most; set outright, since its own choice differs from card to card.
TOKENS_PER_STEP = 8192
# The context, workspaces of cuBLAS, code that was compiled, the table of the noise kernel (and float32 chunks of an
# average).
_CONTEXT_BYTES = GIB
_GRAPHS_BYTES = GIB  # of vLLM, for batches of up to 512 rows
# vLLM's reload holds the candidate's tensor and a layer of its own beside the live one.
_TENSORS_OF_A_RELOAD = 2
# Of a step, per token: the state of the model with what is added to it, queries, keys and values; and of the
# feed-forward layer both of its inputs and their product (Transformers also keeps the activation of one).
_STATES, _VLLM_INNER, _TRANSFORMERS_INNER = 4, 3, 4
# Per row and token of the vocabulary: logits in float32, their probabilities, and the sort of a sampler.
_SAMPLER_BYTES = 24
_VLLM_BLOCK = 16  # tokens; a row's last block is part empty, and one block is nobody's
# Dropping rows copies the keys and values of those that stay, while those of all are kept for the next sample.
_TRANSFORMERS_KV_COPIES = 2
# Rows at their full length beside which the base stays on the card. Answers are a third as long as the limit in the
# middle of a batch, so these keep a few hundred going; fewer would cost more than the base's way from host memory.
_ENOUGH_ROWS = 128
_MOST_GPUS = 8
_ENDLESS = 1 << 60


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU and the memory of its host.

    Attributes:
        total_bytes: All of the card's memory.
        free_bytes: What no process uses.
        host_free_bytes: What this process may still take of the host's; None: not known.
    """

    total_bytes: int
    free_bytes: int
    host_free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """Settings that a plan depends on.

    Attributes:
        kind: The engine. vLLM lets rows wait that have no room yet; Transformers needs room for the whole batch.
        batch_size: Most prompts decoded together.
        row_tokens: Most tokens of a prompt and its answer; None: not known.
        base_copy: Where the base should be; from ``"device"`` it moves to the host where it does not fit.
        memory_fraction: Share of the card's memory that the engine may take, everything included.
        tensor_parallel: GPUs that the model is divided over. The base is whole on each of them.
        graphs: Capture CUDA graphs.
    """

    kind: Literal["vllm", "transformers"]
    batch_size: int
    row_tokens: int | None
    base_copy: Literal["device", "host"] = "device"
    memory_fraction: float = 0.9
    tensor_parallel: int = 1
    graphs: bool = True


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What each part takes of one card, in bytes.

    Attributes:
        total_bytes: All of the card's memory.
        budget_bytes: What of it may be used.
        weights_bytes: The live weights.
        base_copy: Where the untouched base is.
        base_bytes: What the base takes there.
        own_bytes: The context of CUDA and vLLM's graphs.
        reload_bytes: What a load needs beside weights and base.
        step_bytes: Intermediate results of a step; a load does not happen in one, so the larger of the two counts.
        kv_bytes: Keys and values.
        rows: Rows of a batch that have room at their full length.
    """

    total_bytes: int
    budget_bytes: int
    weights_bytes: int
    base_copy: Literal["device", "host"]
    base_bytes: int
    own_bytes: int
    reload_bytes: int
    step_bytes: int
    kv_bytes: int
    rows: int

    @property
    def fixed_bytes(self) -> int:
        """What is used of the card whatever is asked: everything but keys and values."""
        base = self.base_bytes if self.base_copy == "device" else 0
        return self.weights_bytes + base + self.own_bytes + max(self.reload_bytes, self.step_bytes)

    @property
    def share(self) -> float:
        """The part of the card that vLLM may ask for, which must be free when it starts: no more than it takes."""
        return (self.weights_bytes + self.step_bytes + self.kv_bytes) / self.total_bytes

    def __str__(self) -> str:
        where = "" if self.base_copy == "device" else " in host memory"
        return (
            f"weights {_gib(self.weights_bytes)}, base {_gib(self.base_bytes)}{where}, CUDA and graphs "
            f"{_gib(self.own_bytes)}, a load {_gib(self.reload_bytes)} or a step {_gib(self.step_bytes)}, keys and "
            f"values {_gib(self.kv_bytes)} ({self.rows} rows at full length) of {_gib(self.budget_bytes)} GiB"
        )


def plan_memory(card: Card, model: ModelSize, settings: MemorySettings) -> MemoryPlan:
    """Plan the memory of each card of an engine.

    Raises:
        InputError: Not even one row has room; says how many GiB are needed and there, and which setting helps.
    """
    plan = _best(card, model, settings)
    if plan is None:
        raise InputError(_refusal(card, model, settings))
    return plan


def _best(card: Card, model: ModelSize, settings: MemorySettings) -> MemoryPlan | None:
    """Return the plan with the base on the card if enough rows fit beside it, else in host memory; None: neither."""
    on_host = _lay_out(card, model, settings, "host")
    if card.host_free_bytes is not None and on_host.base_bytes * settings.tensor_parallel > card.host_free_bytes:
        on_host = replace(on_host, rows=0)
    plans = [on_host]
    if settings.base_copy == "device":
        on_card = _lay_out(card, model, settings, "device")
        enough = settings.batch_size if settings.kind == "transformers" else min(settings.batch_size, _ENOUGH_ROWS)
        if on_card.rows >= (1 if settings.row_tokens is None else enough):
            return on_card
        plans.append(on_card)
    most = max(plans, key=lambda plan: plan.rows)
    return most if most.rows else None


def _lay_out(
    card: Card, model: ModelSize, settings: MemorySettings, base_copy: Literal["device", "host"]
) -> MemoryPlan:
    """Place the base, and give the rows what is left; that may be nothing."""
    n_gpus, is_vllm = settings.tensor_parallel, settings.kind == "vllm"
    budget = min(int(card.total_bytes * settings.memory_fraction), card.free_bytes)
    step, row = _vllm_needs(model, settings) if is_vllm else _transformers_needs(model, settings)
    plan = MemoryPlan(
        total_bytes=card.total_bytes,
        budget_bytes=budget,
        weights_bytes=-(-model.weights_bytes // n_gpus),
        base_copy=base_copy,
        base_bytes=model.weights_bytes,
        own_bytes=_CONTEXT_BYTES + (_GRAPHS_BYTES if is_vllm and settings.graphs else 0),
        reload_bytes=_TENSORS_OF_A_RELOAD * model.largest_bytes if is_vllm else 0,
        step_bytes=step,
        kv_bytes=0,
        rows=0,
    )
    left = max(0, budget - plan.fixed_bytes)
    return replace(plan, kv_bytes=min(settings.batch_size * row, left), rows=min(settings.batch_size, left // row))


def _vllm_needs(model: ModelSize, settings: MemorySettings) -> tuple[int, int]:
    """Return the bytes of a step, whatever its rows, and those of a row."""
    step = _token_bytes(model, _VLLM_INNER, settings.tensor_parallel) * TOKENS_PER_STEP
    sampler = settings.batch_size * model.vocabulary * _SAMPLER_BYTES
    tokens = _row_tokens(settings) + 2 * _VLLM_BLOCK
    return step + sampler, tokens * model.kv_token_bytes(settings.tensor_parallel)


def _transformers_needs(model: ModelSize, settings: MemorySettings) -> tuple[int, int]:
    """As above. A batch reads all its prompts in one step, so intermediate results belong to the rows."""
    token = _TRANSFORMERS_KV_COPIES * model.kv_token_bytes() + _token_bytes(model, _TRANSFORMERS_INNER)
    return 0, _row_tokens(settings) * token + model.vocabulary * _SAMPLER_BYTES


def _token_bytes(model: ModelSize, n_inner: int, n_gpus: int = 1) -> int:
    """Return the intermediate results of one token."""
    return (_STATES * model.hidden + n_inner * -(-model.intermediate // n_gpus)) * model.item_bytes


def _row_tokens(settings: MemorySettings) -> int:
    return settings.row_tokens or 1


def _refusal(card: Card, model: ModelSize, settings: MemorySettings) -> str:
    """Say in a line what does not fit, and every setting that would make it fit."""
    plan = _lay_out(Card(_ENDLESS, _ENDLESS), model, settings, "host")
    row = plan.kv_bytes // plan.rows
    needed, usable = plan.fixed_bytes + row, min(int(card.total_bytes * settings.memory_fraction), card.free_bytes)
    if needed > usable:
        line = (
            f"engine: the model needs {_gib(needed)} GiB of {'every' if settings.tensor_parallel > 1 else 'the'} GPU's "
            f"memory (weights {_gib(plan.weights_bytes)}, CUDA and graphs {_gib(plan.own_bytes)}, a load or a step "
            f"{_gib(max(plan.reload_bytes, plan.step_bytes))}, keys and values of one row {_gib(row)}; the base in "
            f"host memory), and {_gib(usable)} of {_gib(card.total_bytes)} GiB may be used"
        )
    else:  # beside the base in host memory it would fit
        line = (
            f"engine.base_copy: the base has no room beside the model on the GPU, and needs "
            f"{_gib(plan.base_bytes * settings.tensor_parallel)} GiB of host memory, of which "
            f"{_gib(card.host_free_bytes or 0)} GiB are free"
        )
    if card.free_bytes < int(card.total_bytes * settings.memory_fraction):
        line += f" ({_gib(card.total_bytes - card.free_bytes)} GiB of the GPU's are in use by others)"
    return f"{line}; {', or '.join(_remedies(card, model, settings)) or 'use a smaller model or a larger GPU'}"


def _remedies(card: Card, model: ModelSize, settings: MemorySettings) -> Iterator[str]:
    """Yield the changes of one setting each with which there is a plan, the cheapest first."""

    def works(**changes: object) -> bool:
        return _best(card, model, replace(settings, **changes)) is not None  # type: ignore[arg-type]

    if settings.base_copy == "host" and works(base_copy="device"):
        yield "set engine.base_copy to device"
    if settings.memory_fraction < 1 and works(memory_fraction=1.0):
        fraction = next(each / 100 for each in range(1, 101) if works(memory_fraction=each / 100))
        yield f"raise engine.vllm.memory_fraction from {settings.memory_fraction:g} to {fraction:g}"
    size = settings.batch_size
    while size > 1:
        size //= 2
        if works(batch_size=size):
            yield f"lower engine.batch_size from {settings.batch_size} to {size}"
            break
    if model.item_bytes > 2:
        half = replace(
            model, item_bytes=2, weights_bytes=model.weights_bytes // 2, largest_bytes=model.largest_bytes // 2
        )
        if _best(card, half, settings) is not None:
            yield "set engine.dtype to bfloat16"
    n_gpus = 2 * settings.tensor_parallel
    while n_gpus <= _MOST_GPUS:
        if _best(card, model, replace(settings, kind="vllm", tensor_parallel=n_gpus)) is not None:
            alone = "" if settings.kind == "vllm" else "engine.kind to vllm and "
            yield f"set {alone}engine.vllm.tensor_parallel to {n_gpus}"
            break
        n_gpus *= 2


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / GIB:.{1 if n_bytes >= GIB else 2}f}"
