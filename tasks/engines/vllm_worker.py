"""The part of the vLLM engine that lives in vLLM's own worker: the base copy, and how a candidate gets in.

vLLM mixes `CandidateWorker` into its worker class and calls it by method name, in its process or in another, so that
the same code serves one device and a model that is divided over several. Weights go in through vLLM's reload path,
under the checkpoint's names and whole: vLLM itself cuts, fuses and packs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tasks.engines.candidate_weights import noise_dtype, write_candidate
from tasks.engines.checkpoint import StoredTensor, stored_tensors
from tasks.noise import Perturbation
from tasks.types import Candidate


class CandidateWorker:
    """Mixed into vLLM's worker; names carry a prefix because they share its namespace."""

    model_runner: Any
    device: torch.device

    def thickets_adopt(
        self, folder: str, dtype: str, noise: tuple[str, tuple[str, ...], tuple[str, ...]], *options: Any
    ) -> int:
        """Read the base weights; to be called once.

        Args:
            folder: The checkpoint.
            dtype: What the model runs in.
            noise: Family, include and exclude of the perturbation.
            options: base_copy, prefetch and trust_remote_code of the engine's spec.

        Returns:
            Number of weights that a candidate changes.
        """
        base_copy, prefetch, trust_remote_code = options
        self._thickets = CandidateSource(
            stored_tensors(Path(folder), trust_remote_code=trust_remote_code),
            Perturbation(*noise),  # type: ignore[arg-type]
            getattr(torch, dtype),
            self.device if base_copy == "device" else torch.device("cpu"),
            self.device,
            prefetch=prefetch,
        )
        self._thickets_tied_heads = list(tied_heads(self.model_runner.get_model()))
        return self._thickets.n_perturbed

    def thickets_load(self, seed: int | None, sigma: float) -> None:
        """Hold a candidate from now on; no seed is the base."""
        candidate = None if seed is None else Candidate(seed, sigma)
        self.model_runner.reload_weights(weights_iterator=self._thickets.weights(candidate))
        for head in self._thickets_tied_heads:
            # Reloading fills the embedding this head shares, but what was derived from it (packed weights on the CPU)
            # is the head's own and would still be the previous candidate's.
            head.quant_method.process_weights_after_loading(head)

    def thickets_prepare(self, seed: int, sigma: float) -> None:
        """Make a candidate's weights in the background."""
        self._thickets.prepare(Candidate(seed, sigma))


@dataclass(frozen=True, slots=True)
class _Base:
    """One stored tensor, pristine."""

    stored: StoredTensor
    value: torch.Tensor  # in the model's dtype if it fills a parameter
    perturbed: bool


class CandidateSource:
    """Gives out the checkpoint's tensors as a candidate has them."""

    def __init__(
        self,
        tensors: list[StoredTensor],
        perturbation: Perturbation,
        dtype: torch.dtype,
        kept_on: torch.device,
        wanted_on: torch.device,
        *,
        prefetch: bool,
    ) -> None:
        self._perturbation = perturbation
        self._device = wanted_on
        self._base = [_read(tensor, perturbation, dtype, kept_on) for tensor in tensors]
        self._prefetch = prefetch and wanted_on.type == "cpu"
        self._ahead: tuple[Candidate, Future[None]] | None = None
        self._staged: dict[str, torch.Tensor] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")

    @property
    def n_perturbed(self) -> int:
        """Number of weights a candidate changes; tied ones count once."""
        return sum({base.stored.parameter: base.value.numel() for base in self._base if base.perturbed}.values())

    def weights(self, candidate: Candidate | None) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor of the checkpoint under its stored name, one after another.

        What is given out may be overwritten after the next call of `prepare`.
        """
        ready = candidate is not None and self._is_ready(candidate)
        for base in self._base:
            if candidate is None or not base.perturbed:
                yield base.stored.name, base.value
            elif ready:
                yield base.stored.name, self._staged[base.stored.name]
            else:
                out = torch.empty_like(base.value, device=self._device)
                self._write(out, base, candidate)
                yield base.stored.name, out

    def prepare(self, candidate: Candidate) -> None:
        """Begin to make a candidate's weights in host memory, on another thread."""
        if not self._prefetch:
            return
        self._wait()
        self._ahead = (candidate, self._thread.submit(self._stage, candidate))

    def _stage(self, candidate: Candidate) -> None:
        for base in self._base:
            if base.perturbed:
                out = self._staged.setdefault(base.stored.name, torch.empty_like(base.value))
                self._write(out, base, candidate)

    def _is_ready(self, candidate: Candidate) -> bool:
        ahead = self._wait()
        return ahead == candidate

    def _wait(self) -> Candidate | None:
        """Let the thread finish; the candidate whose weights are staged, if any."""
        if self._ahead is None:
            return None
        self._ahead[1].result()
        return self._ahead[0]

    def _write(self, out: torch.Tensor, base: _Base, candidate: Candidate) -> None:
        assert base.stored.parameter is not None
        write_candidate(
            out.view(-1),
            base.value.view(-1),
            name=base.stored.parameter,
            candidate=candidate,
            family=self._perturbation.family,
        )


def tied_heads(model: torch.nn.Module) -> Iterator[Any]:
    """Output layers whose weight is another layer's, which reloading does not process."""
    owners: dict[int, torch.nn.Module] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, torch.nn.Parameter) or weight.numel() == 0:
            continue
        if weight.data_ptr() in owners and hasattr(module, "quant_method"):
            yield module
        owners.setdefault(weight.data_ptr(), module)


def _read(tensor: StoredTensor, perturbation: Perturbation, dtype: torch.dtype, kept_on: torch.device) -> _Base:
    value = tensor.read()
    perturbed = tensor.parameter is not None and perturbation.selects(tensor.parameter)
    if tensor.parameter is not None and value.dtype.is_floating_point:
        value = value.to(dtype)
    if perturbed:
        noise_dtype(value, tensor.name)
    if kept_on.type == "cpu" and torch.cuda.is_available():
        value = value.pin_memory()
    return _Base(tensor, value.to(kept_on).contiguous(), perturbed)
