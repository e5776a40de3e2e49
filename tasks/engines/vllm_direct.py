"""Writes candidates straight into vLLM's parameters, past its loaders.

vLLM's own reload rebuilds every layer, loads into it and copies it to where the old one was. Where its loading is plain
copies (`vllm_destinations`), base plus noise can be written to the same places instead, and nothing else is to be done
but packing linear layers on the CPU. Only what this process's part of the model takes is kept and made, so that a
model that is divided over several devices divides its base copy and its noise too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from thickets.tasks.engines.ahead import Ahead
from thickets.tasks.engines.checkpoint import Checkpoint
from thickets.tasks.engines.fused_weights import FusedWeights
from thickets.tasks.engines.pinned import pinned_copy
from thickets.tasks.engines.vllm_destinations import Copy, Unread, check_taken, record_copies
from thickets.tasks.engines.vllm_layers import check_derived, checkpoint_layout, only_embeddings
from thickets.tasks.engines.vllm_workarounds import pack_again
from thickets.tasks.noise import Family, Perturbation
from thickets.tasks.noise.spec import Part, Row
from thickets.tasks.types import Weights


def find_copies(model: Any, checkpoint: Checkpoint, perturbation: Perturbation) -> list[Copy]:
    """Return where vLLM puts the checkpoint's tensors.

    Raises:
        NotPlainError: A candidate cannot be written there without vLLM's loaders.
    """
    check_derived(model)
    with checkpoint_layout(model):
        copies = record_copies(model, unread(checkpoint))
    check_taken(copies, checkpoint.perturbed(perturbation))
    return copies


def unread(checkpoint: Checkpoint) -> list[Unread]:
    """Describe a checkpoint's tensors, in their order, without reading the large ones."""
    shapes: dict[tuple[Path, str], tuple[int, ...]] = {}
    for path in dict.fromkeys(tensor.file for tensor in checkpoint.tensors):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                shapes[path, name] = tuple(file.get_slice(name).get_shape())
    return [
        # One that the model ignores has no type of its own here; such tensors are small.
        Unread(tensor.name, shapes[tensor.file, tensor.name], tensor.dtype or tensor.read().dtype)
        for tensor in checkpoint.tensors
    ]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one copy takes of a stored tensor."""

    copy: Copy
    noise_name: str | None  # None: no candidate changes it
    is_whole: bool  # whether it is all of the stored tensor
    factor: float = 1.0  # on sigma

    @property
    def place(self) -> slice:
        """Return where it lies in the parameter, seen flat."""
        return slice(self.copy.offset, self.copy.offset + self.copy.source.numel)

    def part(self, at: int) -> Part:
        """Describe what gets noise, as the part of flat weights that begins at `at`."""
        source = self.copy.source
        row = None if source.count == 1 else Row(source.length, source.stride)
        return Part(at, source.numel, self.noise_name or "", source.start, row, self.factor)


class _Parameter:
    """One parameter of the model, its pristine weights, and the pieces that they are made of."""

    def __init__(self, module: torch.nn.Module, leaf: str, dtype: torch.dtype, kept_on: torch.device) -> None:
        self.module, self._leaf, self.dtype = module, leaf, dtype
        held = _held(module, leaf)
        self.is_emptied = held.numel() == 0  # vLLM keeps packed weights instead
        self.is_aside = self.is_emptied or held.dtype != dtype  # or it is a bias that vLLM has widened
        if self.is_emptied:
            with checkpoint_layout(module):
                self.shape = _held(module, leaf).shape
            self.base = _keep_copy(torch.zeros(self.shape.numel(), dtype=dtype), kept_on)
        else:
            self.shape, self._flat = held.shape, held.data.view(-1)
            self.base = _keep_copy(self._flat.to(dtype), kept_on)  # what no piece fills is padding, which stays
        self.pieces: list[_Piece] = []
        self._writer: FusedWeights | None = None
        self._staged: tuple[torch.Tensor, FusedWeights] | None = None

    def fill(self, piece: _Piece, whole: torch.Tensor) -> None:
        """Copy what a piece takes of its stored tensor, seen flat, into the base."""
        rows = piece.copy.source
        taken = whole.as_strided((rows.count, rows.length), (rows.stride, 1), rows.start)
        self.base[piece.place].view(rows.count, rows.length).copy_(taken)

    @property
    def is_perturbed(self) -> bool:
        """Return whether a candidate changes anything of it."""
        return any(piece.noise_name is not None for piece in self.pieces)

    def stage(self, wanted: Weights, family: Family) -> None:
        """Make the parameter's content in memory of its own, which stays."""
        if self._staged is None:
            flat = torch.empty(self.shape.numel(), dtype=self.dtype)
            self._staged = flat, self._writer_into(flat, family)
        self._staged[1].write(wanted)

    def write(self, wanted: Weights | None, family: Family, room: torch.Tensor, *, staged: bool) -> None:
        """Write a candidate into the live parameter, or by way of `room`, the same at every call."""
        flat = room[: self.shape.numel()] if self.is_aside else self._flat
        if staged and self._staged is not None:
            if self.is_aside:
                flat = self._staged[0]
            else:
                flat.copy_(self._staged[0])
        else:
            if self._writer is None:
                self._writer = self._writer_into(flat, family)
            self._writer.write(wanted)
        if self.is_emptied:
            self._pack(flat)
        elif self.is_aside:
            self._flat.copy_(flat)

    def _writer_into(self, flat: torch.Tensor, family: Family) -> FusedWeights:
        perturbed = sorted(
            (piece for piece in self.pieces if piece.noise_name is not None), key=lambda piece: piece.copy.offset
        )
        return FusedWeights(flat, self.base, [piece.part(piece.copy.offset) for piece in perturbed], family)

    def _pack(self, flat: torch.Tensor) -> None:
        """Have vLLM pack the layer's weights, as it does after its own loading."""
        module = self.module
        emptied = module._parameters[self._leaf]
        module._parameters[self._leaf] = torch.nn.Parameter(flat.view(self.shape), requires_grad=False)
        try:
            pack_again(module)
        finally:
            module._parameters[self._leaf] = emptied


class DirectWriter:
    """Keeps what one process's part of the model takes of the base, and writes candidates into it."""

    def __init__(
        self,
        model: Any,
        copies: Sequence[Copy],
        checkpoint: Checkpoint,
        perturbation: Perturbation,
        kept_on: torch.device,
        *,
        prefetch: bool,
    ) -> None:
        self._perturbation = perturbation
        self._parameters = _parameters(model, copies, checkpoint, perturbation, kept_on)
        aside = [parameter for parameter in self._parameters if parameter.is_aside]
        self._rooms = {
            dtype: torch.empty(max(one.shape.numel() for one in aside if one.dtype == dtype), dtype=dtype)
            for dtype in {one.dtype for one in aside}
        }
        self._device = next(model.parameters()).device
        on_cpu = self._device.type == "cpu"
        self._repacked = _packed_beside(model, self._parameters) if on_cpu else {}
        self._is_whole = False  # whether the model holds one candidate, or the base, in all its parameters
        self._prefetch = prefetch and on_cpu
        self._ahead = Ahead()

    @property
    def family(self) -> Family:
        """Return the family of the noise."""
        return self._perturbation.family

    @property
    def changes(self) -> dict[str, bool]:
        """By the checkpoint's names: whether a candidate changes a tensor that this process's part has anything of."""
        return {piece.copy.stored: piece.noise_name is not None for _, piece in self._pieces()}

    @property
    def dtypes(self) -> list[torch.dtype]:
        """Return the types of the tensors that a candidate changes."""
        return sorted({parameter.dtype for parameter in self._parameters if parameter.is_perturbed}, key=str)

    @torch.no_grad()
    def weights(
        self, wanted: Weights | None, *, only: frozenset[str] | None = None
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the tensors of the checkpoint that this process's part takes whole, flat, under their stored names."""
        for parameter, piece in self._pieces():
            if piece.is_whole and (only is None or piece.copy.stored in only):
                base = parameter.base[piece.place]
                out = torch.empty_like(base, device=self._device)
                FusedWeights(out, base, [piece.part(0)] if piece.noise_name else [], self.family).write(wanted)
                yield piece.copy.stored, out

    @torch.no_grad()
    def rebase(self, checkpoint: Checkpoint) -> None:
        """Read another checkpoint with the same tensors in place of the base; the model holds it after a `load`."""
        self._ahead.take(None)  # what is being made has the base before
        for tensor in checkpoint.tensors:
            whole = tensor.read().view(-1)
            for parameter, piece in self._pieces():
                if piece.copy.stored == tensor.name:
                    parameter.fill(piece, whole)
        self._is_whole = False

    def _pieces(self) -> Iterator[tuple[_Parameter, _Piece]]:
        for parameter in self._parameters:
            for piece in parameter.pieces:
                yield parameter, piece

    @property
    def base_bytes(self) -> int:
        """Return how much memory the pristine weights take."""
        return sum(parameter.base.nbytes for parameter in self._parameters)

    @torch.no_grad()
    def load(self, wanted: Weights | None) -> None:
        """Write a candidate, an average, or the base (None) into the model; tied heads are left to the caller."""
        staged = self._ahead.take(wanted)
        was_whole, self._is_whole = self._is_whole, False
        for parameter in self._parameters:
            if parameter.is_perturbed or not was_whole:
                room = self._rooms.get(parameter.dtype, torch.empty(0))
                parameter.write(wanted, self.family, room, staged=staged)
        for module, is_perturbed in self._repacked.items():
            if is_perturbed or not was_whole:
                pack_again(module)
        self._is_whole = True

    def prepare(self, wanted: Weights) -> None:
        """Begin to make these weights in host memory, on another thread."""
        if self._prefetch:
            self._ahead.start(wanted, self._stage)

    @torch.no_grad()
    def _stage(self, wanted: Weights) -> None:
        for parameter in self._parameters:
            if parameter.is_perturbed:
                parameter.stage(wanted, self.family)


def _parameters(
    model: Any,
    copies: Sequence[Copy],
    checkpoint: Checkpoint,
    perturbation: Perturbation,
    kept_on: torch.device,
) -> list[_Parameter]:
    """Read the base, tensor by tensor, and keep what the copies take of it."""
    noise_names = checkpoint.perturbed(perturbation)
    found: dict[tuple[str, str], _Parameter] = {}
    for tensor in checkpoint.tensors:
        mine = [copy for copy in copies if copy.stored == tensor.name]
        if not mine:
            continue
        whole, noise_name = tensor.read().view(-1), noise_names.get(tensor.name)
        factor = 1.0 if noise_name is None else perturbation.factor(noise_name)
        for copy in mine:
            key = copy.module, copy.leaf
            if key not in found:
                found[key] = _Parameter(model.get_submodule(copy.module), copy.leaf, copy.dtype, kept_on)
            piece = _Piece(copy, noise_name, copy.source.numel == whole.numel(), factor)
            found[key].fill(piece, whole)
            found[key].pieces.append(piece)
    return list(found.values())


def _packed_beside(model: torch.nn.Module, parameters: Sequence[_Parameter]) -> dict[Any, bool]:
    """Return the modules whose packed copy stands beside live weights, and whether a candidate changes them.

    These are output layers, on the CPU.

    A tied head is not among them, nor is an embedding that is nothing else: its packed copy is taken away, so that
    using it is an error.
    """
    unused = only_embeddings(model)
    for module in unused:
        vars(module).pop("cpu_linear", None)
    emptied = {parameter.module for parameter in parameters if parameter.is_emptied}
    found: dict[Any, bool] = {}
    for parameter in parameters:
        found[parameter.module] = found.get(parameter.module, False) or parameter.is_perturbed
    return {
        module: is_perturbed
        for module, is_perturbed in found.items()
        if hasattr(module, "quant_method") and module not in unused and module not in emptied
    }


def keep_on(value: torch.Tensor, kept_on: torch.device) -> torch.Tensor:
    """Return a tensor in host memory on another device, or pinned where there is a GPU to copy it to."""
    if kept_on.type == "cpu" and torch.cuda.is_available():
        return pinned_copy(value)
    return value.to(kept_on)


def _keep_copy(value: torch.Tensor, kept_on: torch.device) -> torch.Tensor:
    """Do as `keep_on`, in memory of its own."""
    kept = keep_on(value, kept_on)
    return kept.clone() if kept.data_ptr() == value.data_ptr() else kept


def _held(module: torch.nn.Module, leaf: str) -> torch.Tensor:
    found = module._parameters.get(leaf)
    return found if found is not None else module.get_buffer(leaf)
