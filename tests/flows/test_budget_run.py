"""A run with a budget: it is the run of as many candidates as that pays for, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.flows.watched_engine import engine_that_ends_after
from tests.patience import PATIENCE_S
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run
from thickets.flows.results.sentences import findings
from thickets.flows.results.summary import RunSummary
from thickets.flows.search.search import search
from thickets.storage.errors import InputError, RunError
from thickets.storage.home import Home

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]
SIGMAS = [0.05, 0.1, 0.2]
# One K and no controls: what the rest of the run takes is known, so the budget can be spent almost whole.
FIXED = {
    "selection": {"k_values": [3]},
    "controls": {"self_consistency": False, "random_experts": False, "weight_average": False, "best_prompt": False},
}
SCORING = {"examples_per_block": 5, "candidates_per_shard": 2}


def n_tokens(summary: RunSummary) -> int:
    return sum(summary.n_tokens.values())


def same(summary: RunSummary) -> dict:
    """What was found; a run with a budget has its own name and says what it was given."""
    left_out = {"wall_s", "engine", "tracking", "folder", "run_id", "budget"}
    return summary.model_dump(exclude=left_out)


@pytest.fixture
def whole(config: MakeConfig) -> RunSummary:
    """A run without a budget, whose cost is the measure of the others."""
    return randopt(config(**FIXED, population={"size": 9, "sigmas": SIGMAS}, scoring=SCORING))


def test_tokens_pay_for_the_first_candidates_of_the_population(config: MakeConfig, whole: RunSummary) -> None:
    given = 2 * n_tokens(whole)
    asked = FIXED | {"population": {"size": 500, "sigmas": SIGMAS}, "scoring": SCORING | {"budget": {"tokens": given}}}
    found = randopt(config(**asked))
    assert 9 < found.n_candidates < 500
    assert 0.8 * given < n_tokens(found) <= given
    plain = randopt(config(**FIXED, population={"size": found.n_candidates, "sigmas": SIGMAS}, scoring=SCORING))
    assert plain.run_id != found.run_id
    assert same(plain) == same(found)
    [line] = [line for line in findings(found) if "budget" in line]
    assert line.startswith(f"The budget of {given:,} tokens paid for {found.n_candidates} of 500 candidates")


@pytest.mark.slow
def test_a_run_that_is_stopped_pays_for_the_same_candidates(config: MakeConfig, whole: RunSummary) -> None:
    given = 2 * n_tokens(whole)
    asked = FIXED | {"population": {"size": 500, "sigmas": SIGMAS}, "scoring": SCORING | {"budget": {"tokens": given}}}
    first = config(**asked)
    found = randopt(first)
    # Cut otherwise, too: the budget is one of tokens, so the cut decides nothing.
    cut_otherwise = asked | {"scoring": asked["scoring"] | {"candidates_per_shard": 5}}
    again = config(**cut_otherwise, storage={"home": first.storage.home.with_name("again")})
    n_before = len(findings(found))
    for n_units in (3, 40):
        with pytest.raises(RuntimeError, match="planted"):
            search(_without_retries(again), build=engine_that_ends_after(n_units))
    resumed = randopt(again)
    assert same(resumed) == same(found)
    assert len(findings(resumed)) == n_before


@pytest.mark.slow
def test_minutes_are_kept_and_those_of_every_session_count(config: MakeConfig) -> None:
    asked = config(population={"size": 5000, "sigmas": SIGMAS}, scoring=SCORING | {"budget": {"minutes": 0.9}})
    found = randopt(asked)
    assert 5 <= found.n_candidates < 5000
    assert found.wall_s < 0.9 * 60 + PATIENCE_S
    again = randopt(asked)
    assert again.n_candidates == found.n_candidates
    assert again.evaluation == found.evaluation
    ledger = find_run(Home(asked.storage.home), found.run_id).budget.read_text()
    assert '"is_final":true' in ledger


def test_a_budget_that_is_too_small_says_what_is_enough(config: MakeConfig) -> None:
    with pytest.raises(
        RunError, match=r"^scoring\.budget: 200 tokens do not pay for the smallest run, .* about [\d,]+"
    ):
        randopt(config(scoring=SCORING | {"budget": {"tokens": 200}}))


@pytest.mark.parametrize("budget", [{}, {"tokens": 5, "minutes": 1.0}])
def test_a_budget_is_one_of_the_two(config: MakeConfig, budget: dict) -> None:
    with pytest.raises(InputError, match=r"^scoring\.budget: tokens is .*; give exactly one of the two"):
        config(scoring=SCORING | {"budget": budget})


def _without_retries(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"scoring": config.scoring.model_copy(update={"retries": 0})})
