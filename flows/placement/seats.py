"""Shares the GPUs of this machine out to engines: one per card, several on one, or one on several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from thickets.flows.config.engine import EngineConfig
from thickets.flows.placement.visible_gpus import visible_entry
from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec

Seat = tuple[int, ...]
"""The GPUs of one engine, as PyTorch counts them in this process."""


def seats(cards: Sequence[str], engine: EngineConfig, spec: EngineSpec) -> tuple[Seat, ...]:
    """Return the GPUs of every engine; the first engines are on different cards.

    Cards of another name than the run's are left alone: they may answer otherwise.

    Args:
        cards: What the maker calls each GPU that this process sees, `[n_gpus]`.
        engine: The configuration's section, for this machine.
        spec: The engine with its device, a CUDA device, resolved.

    Raises:
        InputError: There are not enough GPUs for what is configured.
    """
    _, _, index = spec.device.partition(":")
    usable = [int(index)] if index else [place for place, card in enumerate(cards) if spec.card in (None, card)]
    width = spec.vllm.tensor_parallel if spec.kind == "vllm" else 1
    groups = [tuple(usable[first : first + width]) for first in range(0, len(usable) - width + 1, width)]
    if not groups:
        raise InputError(
            f"engine.vllm.tensor_parallel is {width}, but there are {len(usable)} GPUs here "
            f"({_counted(cards, usable)}); lower it"
        )
    found = groups * engine.per_device
    if engine.replicas is not None and engine.replicas > len(found):
        raise InputError(
            f"engine.replicas is {engine.replicas}, but there is room for {len(found)} here: {len(usable)} GPUs "
            f"({_counted(cards, usable)}), {width} for each engine and engine.per_device {engine.per_device}; lower it "
            "or leave it empty"
        )
    return tuple(found[: engine.replicas])


def seat_environment(seat: Seat, cores: int, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an engine's process: it sees its own GPUs alone, from ``cuda:0``.

    Args:
        seat: Its GPUs.
        cores: Of the machine that are its share.
        ours: The variables of this process; a number of threads that the user has set there stays.
    """
    visible = ours.get("CUDA_VISIBLE_DEVICES")
    return {
        "CUDA_VISIBLE_DEVICES": ",".join(visible_entry(gpu, visible) for gpu in seat),
        "OMP_NUM_THREADS": ours.get("OMP_NUM_THREADS", str(max(1, cores))),
    }


def seated(spec: EngineSpec, engine: EngineConfig) -> EngineSpec:
    """Return the spec of an engine on a seat: the device is the first that it sees, the memory its share of a card."""
    return replace(spec, device="cuda", memory_share=1 / engine.per_device)


def _counted(cards: Sequence[str], usable: Sequence[int]) -> str:
    names = [cards[place] for place in usable if place < len(cards)]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "none"
