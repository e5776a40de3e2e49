"""Records where vLLM puts every tensor of a checkpoint, by having it load tensors that have no content.

vLLM's own loaders name, fuse and cut: a stored tensor ends up in one or several places of the model's parameters, on
one device or, where a model is divided over several, in part. What they do is watched once, operation by operation.
Where every place is a plain copy, a candidate can be written there without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class NotPlainError(Exception):
    """The model's loading is more than plain copies; the message names the tensor and says why."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Elements of a stored tensor that one copy takes: rows of neighbours at equal distances.

    Attributes:
        start: Row-major index of the first element.
        count: Number of rows; 1 for a contiguous range.
        length: Elements per row.
        stride: Distance between the first elements of two rows.
    """

    start: int
    count: int
    length: int
    stride: int

    @property
    def numel(self) -> int:
        """Return the number of elements."""
        return self.count * self.length


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of vLLM's loading.

    Attributes:
        stored: Name of the tensor in the checkpoint.
        source: What is taken of it.
        module: Name of the module that owns the parameter.
        leaf: The parameter's name there.
        offset: Index in the parameter, seen flat, of the first element written; the others follow without gaps.
        dtype: Type of what is copied. The parameter may be float32 all the same: on processors with AMX vLLM widens the
            biases of small layers.
    """

    stored: str
    source: Rows
    module: str
    leaf: str
    offset: int
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Unread:
    """A stored tensor without its content."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype


@torch.no_grad()
def record_copies(model: Any, tensors: Sequence[Unread]) -> list[Copy]:
    """Let the model load `tensors` and return the copies that it makes; its weights stay as they are.

    Args:
        model: A vLLM model whose parameters have the checkpoint's layout; see `vllm_layers.checkpoint_layout`.
        tensors: Every tensor of the checkpoint, in the order in which it is loaded.

    Returns:
        Copies that fill every parameter once, but for padding. The order is that of loading.

    Raises:
        NotPlainError: Something else than plain copies, of the same type or widened, or a parameter that they do not
            fill.
    """
    recorder = _Recorder(model)
    try:
        with recorder:
            model.load_weights(recorder.given(tensors))
    except NotPlainError:
        raise
    except Exception as error:  # a loader may do anything, and not all of it can be done without content
        doing = f"while {recorder.loading} was loaded" if recorder.loading else "before anything was loaded"
        raise NotPlainError(f"{doing}: {type(error).__name__}: {error}") from error
    finally:
        was_replaced = recorder.put_back()
    if was_replaced:
        raise NotPlainError(f"{was_replaced}: it is replaced, not written")
    return recorder.finish()


def check_taken(copies: Sequence[Copy], perturbed: dict[str, str]) -> None:
    """Refuse copies that leave out a perturbed parameter.

    Args:
        copies: Of the whole loading.
        perturbed: Stored name to parameter, of every tensor that a candidate changes; tied ones share a parameter.

    Raises:
        NotPlainError: No copy takes a tensor of the parameter.
    """
    taken = {perturbed[copy.stored] for copy in copies if copy.stored in perturbed}
    for stored, parameter in perturbed.items():
        if parameter not in taken:
            raise NotPlainError(f"{stored}: vLLM does not load it")


class _Recorder(TorchDispatchMode):
    """Notes copies into the model's tensors in place of making them; every other change of one is refused."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.loading = ""
        self._sources: dict[int, tuple[str, torch.Tensor]] = {}
        self._owned: dict[int, tuple[str, str, torch.Tensor]] = {}  # the first owner of a storage; tied ones follow
        for module_name, module in model.named_modules():
            for leaf, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
                if tensor.numel():
                    self._owned.setdefault(_storage(tensor), (module_name, leaf, tensor))
        self._kept = [(name, parameter, parameter.data) for name, parameter in model.named_parameters()]
        self._copies: list[Copy] = []
        self._filled: list[tuple[int, int, int]] = []  # storage, offset and length of padding

    def given(self, tensors: Sequence[Unread]) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield stand-ins for the stored tensors and remember them."""
        for tensor in tensors:
            self.loading = tensor.name
            stand_in = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
            self._sources[_storage(stand_in)] = tensor.name, stand_in
            yield tensor.name, stand_in

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        target = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if target is None or not func._schema.is_mutable or _storage(target) not in self._owned:
            return func(*args, **(kwargs or {}))
        name = self._name(target)
        if func is torch.ops.aten.copy_.default:
            self._note(name, target, args[1])
        elif func is torch.ops.aten.zero_.default or (func is torch.ops.aten.fill_.Scalar and args[1] == 0):
            offset = self._offset(name, target)
            self._filled.append((_storage(target), offset, target.numel()))
        else:
            raise NotPlainError(f"{name}: {func} is applied to it")
        return target

    def put_back(self) -> str:
        """Give parameters their memory back if a loader has taken it, and return the name of one, or nothing."""
        replaced = ""
        for name, parameter, data in self._kept:
            if _storage(parameter) != _storage(data):
                parameter.data, replaced = data, name
        return replaced

    def finish(self) -> list[Copy]:
        """Check that every parameter is filled once, and return the copies."""
        ranges: dict[int, list[tuple[int, int]]] = {_storage(data): [] for *_, data in self._kept if data.numel()}
        for storage, offset, numel in self._filled:
            ranges.setdefault(storage, []).append((offset, numel))
        owner = {(module, leaf): storage for storage, (module, leaf, _) in self._owned.items()}
        types: dict[tuple[str, str], torch.dtype] = {}
        for copy in self._copies:
            if types.setdefault((copy.module, copy.leaf), copy.dtype) != copy.dtype:
                raise NotPlainError(f"{_joined(copy.module, copy.leaf)}: its parts are of several types")
            ranges.setdefault(owner[copy.module, copy.leaf], []).append((copy.offset, copy.source.numel))
        for storage, parts in ranges.items():
            module, leaf, tensor = self._owned[storage]
            end = 0
            for offset, numel in sorted(part for part in parts if part[1]):
                if offset != end:
                    fault = "is loaded twice" if offset < end else "is loaded in part"
                    raise NotPlainError(f"{_joined(module, leaf)}: {fault}")
                end += numel
            if end != tensor.numel():
                raise NotPlainError(f"{_joined(module, leaf)}: {'is loaded in part' if end else 'is not loaded'}")
        return self._copies

    def _name(self, target: torch.Tensor) -> str:
        module, leaf, _ = self._owned[_storage(target)]
        return _joined(module, leaf)

    def _offset(self, name: str, target: torch.Tensor) -> int:
        """Return where a contiguous part of a tensor of the model begins in it."""
        owned = self._owned[_storage(target)][2]
        offset = target.storage_offset() - owned.storage_offset()
        if not owned.is_contiguous() or not target.is_contiguous():
            raise NotPlainError(f"{name}: what is written there does not lie in a row")
        if offset < 0 or offset + target.numel() > owned.numel():
            raise NotPlainError(f"{name}: it shares memory with another tensor")
        return int(offset)

    def _note(self, name: str, target: torch.Tensor, source: torch.Tensor) -> None:
        stored, _ = self._sources.get(_storage(source), ("", None))
        if not stored:
            raise NotPlainError(f"{name}: what is copied there is computed from the stored tensor {self.loading}")
        is_widened = target.dtype == torch.float32 and source.dtype in (torch.bfloat16, torch.float16)
        if target.shape != source.shape or not (target.dtype == source.dtype or is_widened):
            raise NotPlainError(
                f"{stored}: {source.dtype} {list(source.shape)} is copied to {target.dtype} {list(target.shape)}"
            )
        rows = rows_of(source)
        if rows is None:
            raise NotPlainError(f"{stored}: what is copied of it does not lie in rows at equal distances")
        module, leaf, _ = self._owned[_storage(target)]
        self._copies.append(Copy(stored, rows, module, leaf, self._offset(name, target), source.dtype))


def rows_of(view: torch.Tensor) -> Rows | None:
    """Describe a view of a contiguous tensor, read in row-major order, as rows; None where that cannot be."""
    dims: list[tuple[int, int]] = []  # (size, stride), outermost first, neighbours merged where they can be
    for size, stride in zip(view.shape, view.stride(), strict=True):
        if size == 1:
            continue
        if dims and dims[-1][1] == size * stride:
            dims[-1] = dims[-1][0] * size, stride
        else:
            dims.append((size, stride))
    if not dims:
        dims = [(prod(view.shape), 1)]
    if len(dims) > 2 or dims[-1][1] != 1:
        return None
    length = dims[-1][0]
    count, stride = dims[0] if len(dims) == 2 else (1, length)
    return Rows(int(view.storage_offset()), count, length, stride)


def _storage(tensor: torch.Tensor) -> int:
    """Return what two tensors have in common where they share memory, with content or without."""
    return int(tensor.untyped_storage()._cdata)


def _joined(module: str, leaf: str) -> str:
    return f"{module}.{leaf}" if module else leaf
