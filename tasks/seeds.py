"""Seed generation: draws the population of (seed, sigma); a larger one begins with the candidates of a smaller one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import polars as pl

from thickets.tasks.task import task
from thickets.tasks.types import Candidate

_DOMAIN = b"thickets population 1"

POPULATION_SCHEMA = pl.Schema(
    {"candidate_id": pl.String(), "seed": pl.UInt64(), "sigma": pl.Float64(), "position": pl.Int64()}
)


def population(size: int, sigmas: Sequence[float], seed: int) -> pl.DataFrame:
    """Draw a population (paper, section 3: N seeds, sigmas shared out evenly).

    Candidate i depends on `seed`, `sigmas` and i alone, so a population of 500 is the beginning of one of 5000. A pilot
    changes sigmas later (`thickets.tasks.adaptive.pilot`), and never a seed.

    Args:
        size: Number of candidates, N.
        sigmas: Noise scales; candidate i gets ``sigmas[i % len(sigmas)]``.
        seed: Key of the draw, unsigned 64 bits.

    Returns:
        `[n_candidates, 4]`: candidate_id, seed (unique), sigma, position, in order of position.
    """
    seen: set[int] = set()
    seeds: list[int] = []
    counter = 0
    while len(seeds) < size:
        key = seed.to_bytes(8, "little") + counter.to_bytes(8, "little")
        drawn = int.from_bytes(hashlib.blake2b(_DOMAIN + key, digest_size=8).digest(), "little")
        counter += 1
        if drawn not in seen:  # skipping a repeat keeps every prefix as it was
            seen.add(drawn)
            seeds.append(drawn)
    drawn_sigmas = [float(sigmas[position % len(sigmas)]) for position in range(size)]
    return pl.DataFrame(
        {
            "candidate_id": [Candidate(s, sigma).id for s, sigma in zip(seeds, drawn_sigmas, strict=True)],
            "seed": seeds,
            "sigma": drawn_sigmas,
            "position": range(size),
        },
        schema=POPULATION_SCHEMA,
    )


def with_sigmas_after(drawn: pl.DataFrame, n_kept: int, sigmas: Sequence[float]) -> pl.DataFrame:
    """Replace the sigmas from position `n_kept` on; the seeds stay.

    Args:
        drawn: A population, as `population` returns it.
        n_kept: Candidates at the beginning whose sigma stays.
        sigmas: One for each later candidate.
    """
    kept, seeds = drawn.head(n_kept), drawn["seed"].to_list()[n_kept:]
    shifted = drawn.slice(n_kept).with_columns(
        candidate_id=pl.Series([Candidate(*each).id for each in zip(seeds, sigmas, strict=True)], dtype=pl.String),
        sigma=pl.Series(sigmas, dtype=pl.Float64),
    )
    return pl.concat([kept, shifted])


def candidates_of(frame: pl.DataFrame) -> list[Candidate]:
    """Return the rows of a population, or of a selection from it, as candidates."""
    return [Candidate(seed, sigma) for seed, sigma in frame.select("seed", "sigma").iter_rows()]


@task("generate-seeds", retries=1)
def generate_seeds(size: int, sigmas: Sequence[float], seed: int) -> pl.DataFrame:
    """Prefect task over `population`."""
    return population(size, sigmas, seed)
