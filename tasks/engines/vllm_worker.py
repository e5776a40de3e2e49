"""The part of the vLLM engine that runs in vLLM's own worker: it keeps the base copy and loads candidates.

vLLM mixes `CandidateWorker` into its worker class and calls it by method name, in its process or in another, so that
the same code serves one device and a model that is divided over several. Weights go in through vLLM's reload path,
under the checkpoint's names and whole: vLLM itself cuts, fuses and packs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import torch

from thickets.tasks.engines.ahead import Ahead
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.engines.checkpoint import Checkpoint, inspect_checkpoint
from thickets.tasks.engines.checksums import checksums
from thickets.tasks.engines.kernel_check import kernel_faults
from thickets.tasks.engines.vllm_destinations import NotPlainError
from thickets.tasks.engines.vllm_direct import DirectWriter, find_copies, keep_on, unread
from thickets.tasks.engines.vllm_parts import expected_changes, parts, sources
from thickets.tasks.engines.vllm_workarounds import heard_while_reloading, pack_again, tied_heads
from thickets.tasks.engines.whole_base import whole_base_problem
from thickets.tasks.noise import Family, Perturbation
from thickets.tasks.types import Average, Candidate, Merge, Weights

Noise: TypeAlias = "tuple[Family, tuple[str, ...], tuple[str, ...], tuple[tuple[str, float], ...]]"
Member: TypeAlias = "tuple[int, float] | tuple[int, float, float]"


class CandidateWorker:
    """Mixed into vLLM's worker; names carry a prefix because they share its namespace."""

    model_runner: Any
    vllm_config: Any
    device: torch.device
    reload_weights: Callable[..., None]

    def thickets_adopt(self, folder: str, dtype: DtypeName, noise: Noise, *options: Any) -> tuple[str, str]:
        """Find out how candidates get into the model, and read the base weights; to be called once.

        Args:
            folder: The checkpoint.
            dtype: As in the engine's spec.
            noise: Family, include, exclude and scale of the perturbation.
            options: base_copy, prefetch and trust_remote_code of the engine's spec.

        Returns:
            Why vLLM has to reload every candidate itself, and what forbids that; nothing where it is not so.
        """
        from vllm.config import set_current_vllm_config

        base_copy, prefetch, trust_remote_code = options
        checkpoint = inspect_checkpoint(Path(folder), dtype, trust_remote_code=trust_remote_code)
        perturbation = Perturbation(*noise)
        kept_on = self.device if base_copy == "device" else torch.device("cpu")
        model = self.model_runner.get_model()
        self._thickets_tensors = unread(checkpoint)
        self._thickets_tied_heads = list(tied_heads(model))
        self._thickets: CandidateSource | DirectWriter
        try:
            with set_current_vllm_config(self.vllm_config):
                copies = find_copies(model, checkpoint, perturbation)
        except NotPlainError as error:
            n_parts = int(self.vllm_config.parallel_config.tensor_parallel_size)
            if problem := _whole_base_problem(checkpoint, kept_on, n_parts, str(error)):
                return str(error), problem
            self._thickets = CandidateSource(checkpoint, perturbation, kept_on, self.device, prefetch=prefetch)
            return str(error), ""
        self._thickets = DirectWriter(model, copies, checkpoint, perturbation, kept_on, prefetch=prefetch)
        return "", ""

    def thickets_rebase(self, folder: str, dtype: DtypeName, trust_remote_code: bool) -> bool:
        """Read the base weights of another checkpoint, if it has the same tensors; return whether it has."""
        checkpoint = inspect_checkpoint(Path(folder), dtype, trust_remote_code=trust_remote_code)
        if checkpoint.held_apart or set(unread(checkpoint)) != set(self._thickets_tensors):
            return False
        self._thickets.rebase(checkpoint)
        return True

    def thickets_load(self, members: Sequence[Member]) -> list[str]:
        """Load what the members make; none at all is the base.

        Args:
            members: Seed and sigma: of a candidate, or of several that are averaged; and a coefficient, of a merge.

        Returns:
            What vLLM said of layers that the reload has not reached; see `heard_while_reloading`.
        """
        wanted = _weights(members) if members else None
        said: list[str] = []
        if isinstance(self._thickets, DirectWriter):
            self._thickets.load(wanted)
        else:
            with heard_while_reloading() as said:
                self.reload_weights(weights_iterator=self._thickets.weights(wanted))
        for head in self._thickets_tied_heads:
            pack_again(head)
        return said

    def thickets_checksums(self) -> dict[str, int]:
        """Return a checksum of all that the model computes with, by tensor of the checkpoint where that is possible."""
        return checksums((part.name, part.value) for part in parts(self.model_runner.get_model()))

    def thickets_changes(self) -> dict[str, bool]:
        """Tell of the names of `thickets_checksums` whether a candidate changes them, as far as that is known."""
        return expected_changes(self.model_runner.get_model(), self._thickets.changes)

    def thickets_expected(self, members: Sequence[Member]) -> dict[str, int]:
        """Return the checksums that plain copies of these weights have, by the names of `thickets_checksums`."""
        found = sources(self.model_runner.get_model(), self._thickets.changes)
        copied = {part.name: name for part, name in found if name is not None and not part.is_answer}
        wanted = _weights(members) if members else None
        stored = checksums(self._thickets.weights(wanted, only=frozenset(copied.values())))
        return {part: stored[name] for part, name in copied.items() if name in stored}

    def thickets_kernel_faults(self) -> list[str]:
        """See `thickets.tasks.engines.kernel_check.kernel_faults`."""
        return kernel_faults(self.device, self._thickets.dtypes, self._thickets.family)

    def thickets_prepare(self, members: Sequence[Member]) -> None:
        """Make the weights of a candidate, or of an average, in the background."""
        self._thickets.prepare(_weights(members))

    def thickets_seed(self, seed: int) -> None:
        """Seed the generator that all requests draw tokens from."""
        torch.manual_seed(seed)


@dataclass(frozen=True, slots=True)
class _Base:
    """One stored tensor, pristine."""

    name: str
    value: torch.Tensor
    noise_name: str | None  # None: no candidate changes it
    factor: float


class CandidateSource:
    """Yields the checkpoint's tensors with the weights of a candidate or of an average."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        perturbation: Perturbation,
        kept_on: torch.device,
        wanted_on: torch.device,
        *,
        prefetch: bool,
    ) -> None:
        self.family = perturbation.family
        self._device = wanted_on
        noise_names = checkpoint.perturbed(perturbation)
        self._base = []
        for tensor in checkpoint.tensors:
            noise_name = noise_names.get(tensor.name)
            factor = 1.0 if noise_name is None else perturbation.factor(noise_name)
            self._base.append(_Base(tensor.name, keep_on(tensor.read(), kept_on), noise_name, factor))
        self._prefetch = prefetch and wanted_on.type == "cpu"
        self._ahead = Ahead()
        self._staged: dict[str, torch.Tensor] = {}

    @property
    def changes(self) -> dict[str, bool]:
        """By the checkpoint's names: whether a candidate changes a tensor."""
        return {base.name: base.noise_name is not None for base in self._base}

    @property
    def dtypes(self) -> list[torch.dtype]:
        """The types of the tensors that a candidate changes."""
        return sorted({base.value.dtype for base in self._base if base.noise_name is not None}, key=str)

    def rebase(self, checkpoint: Checkpoint) -> None:
        """Read another checkpoint with the same tensors in place of the base."""
        self._ahead.take(None)  # what is being made has the base before
        stored = {tensor.name: tensor for tensor in checkpoint.tensors}
        for base in self._base:
            base.value.copy_(stored[base.name].read())

    def weights(
        self, wanted: Weights | None, *, only: frozenset[str] | None = None
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield every tensor of the checkpoint, or those of some names, under its stored name.

        The next call of `weights` or `prepare` may overwrite the tensors yielded.
        """
        ready = self._ahead.take(wanted)
        for base in self._base:
            if only is not None and base.name not in only:
                continue
            if wanted is None or base.noise_name is None:
                yield base.name, base.value
            else:
                out = self._room_for(base)
                if not ready:
                    self._write(out, base, wanted)
                yield base.name, out

    def prepare(self, wanted: Weights) -> None:
        """Begin to make these weights in host memory, on another thread."""
        if self._prefetch:
            self._ahead.start(wanted, self._stage)

    def _stage(self, wanted: Weights) -> None:
        for base in self._base:
            if base.noise_name is not None:
                self._write(self._room_for(base), base, wanted)

    def _room_for(self, base: _Base) -> torch.Tensor:
        """Return memory for one tensor.

        On the CPU always the same: new pages would cost as much as the noise in them.
        """
        if self._device.type != "cpu":
            return torch.empty_like(base.value, device=self._device)
        if base.name not in self._staged:
            self._staged[base.name] = torch.empty_like(base.value)
        return self._staged[base.name]

    def _write(self, out: torch.Tensor, base: _Base, wanted: Weights) -> None:
        assert base.noise_name is not None
        write_weights(
            out.view(-1),
            base.value.view(-1),
            name=base.noise_name,
            weights=wanted,
            family=self.family,
            factor=base.factor,
        )


def _weights(members: Sequence[Member]) -> Weights:
    candidates = tuple(Candidate(int(member[0]), member[1]) for member in members)
    if coefficients := tuple(rest[0] for _, _, *rest in members if rest):
        return Merge(candidates, coefficients)
    # The average of one is that one; as a candidate it takes one pass over the weights.
    return candidates[0] if len(candidates) == 1 else Average(candidates)


def _whole_base_problem(checkpoint: Checkpoint, kept_on: torch.device, n_parts: int, reason: str) -> str | None:
    """See `thickets.tasks.engines.whole_base.whole_base_problem`, with what is free here."""
    import psutil

    on_host = kept_on.type == "cpu"
    return whole_base_problem(
        base_bytes=sum(prod(tensor.shape) * tensor.dtype.itemsize for tensor in unread(checkpoint)),
        free_bytes=psutil.virtual_memory().available if on_host else torch.cuda.mem_get_info(kept_on)[0],
        n_parts=n_parts,
        base_copy="host" if on_host else "device",
        reason=reason,
    )
