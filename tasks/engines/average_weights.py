"""Writes a candidate, or one model made of several, over the live weights."""

from __future__ import annotations

import torch

from thickets.tasks.engines.candidate_weights import check_pair, noise_device, noise_dtype, write_candidate
from thickets.tasks.noise import Family
from thickets.tasks.noise.spec import QUIET_NAN_BITS, Row, scaled_sigma
from thickets.tasks.types import Average, Candidate, Merge, Weights

# Weights that are averaged at a time: bounds the memory beside them to a few float32 buffers of this length (64 MiB).
CHUNK_LEN = 1 << 24


def write_weights(
    live: torch.Tensor,
    base: torch.Tensor,
    *,
    name: str,
    weights: Weights,
    family: Family,
    start: int = 0,
    row: Row | None = None,
    factor: float = 1.0,
) -> None:
    """Overwrite `live` with the weights of a candidate, an average or a merge; bit-identical on every device.

    Args:
        live: Flat, contiguous weights ``[n]`` that the model reads, on any device.
        base: The pristine weights ``[n]`` of the same dtype, on the same device or in host memory; may be `live`.
        name: Canonical Hugging Face parameter name.
        weights: What is wanted.
        family: Distribution of the noise.
        start: Row-major index in the whole parameter of ``live[0]``.
        row: How the weights lie in the whole parameter, if not in one range.
        factor: The parameter's own, on every sigma; see `thickets.tasks.noise.spec.scaled_sigma`.

    Raises:
        InputError: Noise is not defined for the dtype, or the tensors do not fit each other.
    """
    weights = scaled(weights, factor)
    if isinstance(weights, Candidate):
        write_candidate(live, base, name=name, candidate=weights, family=family, start=start, row=row)
        return
    check_pair(live, base, name)
    # Whole rows at a time, where there are any.
    chunk_len = CHUNK_LEN if row is None else max(1, CHUNK_LEN // row.length) * row.length
    for at in range(0, live.numel(), chunk_len):
        part = slice(at, at + chunk_len)
        first = start + (at if row is None else at // row.length * row.stride)
        _write_sum(live[part], base[part], name, weights, family, first, row)


def scaled(weights: Weights, factor: float) -> Weights:
    """Return what weights are in a parameter that has a factor: the same, of members with other sigmas."""
    if factor == 1:
        return weights
    if isinstance(weights, Candidate):
        return Candidate(weights.seed, scaled_sigma(weights.sigma, factor))
    members = tuple(Candidate(member.seed, scaled_sigma(member.sigma, factor)) for member in weights.members)
    return Average(members) if isinstance(weights, Average) else Merge(members, weights.coefficients)


def _write_sum(
    live: torch.Tensor,
    base: torch.Tensor,
    name: str,
    wanted: Average | Merge,
    family: Family,
    start: int,
    row: Row | None,
) -> None:
    """See `Average` and `Merge` in `thickets.tasks.types` for what is computed; each line here is one rounding."""
    dtype, device = noise_dtype(live, name), noise_device(live)
    # A candidate of "weights" that are nothing yet is its noise alone, and one upon another is their sum. Minus zero,
    # because that is what changes no summand: 0 + -0 is 0.
    change = torch.full(live.shape, -0.0, device=device)
    for member, coefficient in zip(wanted.members, _coefficients(wanted), strict=True):
        scaled = member if coefficient == 1 else Candidate(member.seed, abs(coefficient * member.sigma))
        if coefficient < 0:
            change.neg_()  # what is added between two changes of sign is taken away: rounding is symmetric
        write_candidate(change, change, name=name, candidate=scaled, family=family, start=start, row=row)
        if coefficient < 0:
            change.neg_()
    if isinstance(wanted, Average):
        # By a tensor, not by a number: CUDA multiplies by the reciprocal of a number, which rounds twice.
        change /= torch.tensor(float(len(wanted.members)), device=device)
    total = base.to(device).float() + change
    cast = total.to(live.dtype)
    # Every device has NaNs of its own; the contract has one.
    bits = cast.view(torch.int32 if dtype == "float32" else torch.int16)
    bits.masked_fill_(total.isnan(), QUIET_NAN_BITS[dtype])
    live.copy_(cast)


def _coefficients(wanted: Average | Merge) -> tuple[float, ...]:
    return (1.0,) * len(wanted.members) if isinstance(wanted, Average) else wanted.coefficients
