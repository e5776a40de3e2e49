from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from thickets.tasks.seeds import candidates_of, population

SIGMAS = [0.001, 0.002, 0.003]
SEEDS_OF_VERSION_1 = [14451279649817239394, 10947419833398380742]


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 2**64 - 1))
def test_a_smaller_population_is_the_beginning_of_a_larger_one(size: int, more: int, seed: int) -> None:
    assert population(size + more, SIGMAS, seed).head(size).equals(population(size, SIGMAS, seed))


def test_sigmas_are_shared_out_evenly_and_seeds_are_unique() -> None:
    frame = population(5000, SIGMAS, 0)
    assert frame["seed"].n_unique() == 5000
    counts = frame.group_by("sigma").len()["len"]
    assert counts.max() - counts.min() <= 1


def test_two_population_seeds_share_no_candidate() -> None:
    assert not set(population(500, SIGMAS, 0)["seed"]) & set(population(500, SIGMAS, 1)["seed"])


def test_figures_do_not_change_between_versions() -> None:
    # A stored population must be made again bit for bit by any later version.
    assert population(2, [0.001], 0)["seed"].to_list() == SEEDS_OF_VERSION_1


def test_candidate_ids_name_seed_and_sigma() -> None:
    frame = population(3, SIGMAS, 7)
    assert [candidate.id for candidate in candidates_of(frame)] == frame["candidate_id"].to_list()
