"""Whole runs with a pilot: it decides the sigmas of the rest, asks nobody twice, and may be stopped anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest

from tests.flows.text_parity_problem import outcome, write_problem
from thickets.flows.config.file import parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.randopt_many import randopt_many
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.results.sentences import findings
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError, RunError
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import Home, RunFolder
from thickets.storage.shards.file import list_shards
from thickets.tasks.adaptive.pilot import learn, spread_out
from thickets.tasks.scoring.identity import run_id
from thickets.tasks.scoring.units import Shard, ShardReport
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.seeds import population

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]
N, N_SELECTION, PER_BLOCK, N_PILOT = 24, 20, 5, 9
N_BLOCKS = N_SELECTION // PER_BLOCK
SIGMAS = [0.05, 0.1, 0.2]
PILOT = {"candidates": N_PILOT, "even": 0.1}
SCORING = {"examples_per_block": PER_BLOCK, "candidates_per_shard": 2}
RACED = SCORING | {"racing": {"z": 0.2, "keep": 0.6}}


@pytest.fixture(scope="module")
def make(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeConfig]:
    """Make a configuration with a pilot, in a home of its own if none is given."""
    root = tmp_path_factory.mktemp("pilot")
    problem = write_problem(root)

    def config(home: Path | None = None, size: int = N, pilot: Any = PILOT, **others: Any) -> RunConfig:
        values = {
            "name": "tiny",
            "model": str(tiny_model),
            "problem": problem,
            "data": {"selection": N_SELECTION, "validation": 10, "test": 10},
            "population": {"size": size, "sigmas": SIGMAS, "pilot": pilot},
            "decoding": {"max_tokens": 8},
            "engine": {"kind": "transformers", "device": "cpu", "batch_size": 6},
            "scoring": SCORING,
            "selection": {"k_values": [1, 3]},
            "controls": {"best_prompt": False, "self_consistency": False},
            "storage": {"home": str(home or tmp_path_factory.mktemp("home"))},
        }
        return parse_config(values | others)

    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(root)
        yield config


@pytest.fixture(scope="module")
def piloted(make: MakeConfig, prefect_server: object) -> RunSummary:
    return randopt(make())


@pytest.fixture(scope="module")
def raced(make: MakeConfig, prefect_server: object) -> RunSummary:
    return randopt(make(scoring=RACED))


def candidates(summary: RunSummary) -> pl.DataFrame:
    """Who took part, in order."""
    return candidates_in(summary.folder)


def candidates_in(folder: Path) -> pl.DataFrame:
    frame = pl.read_parquet(folder / "candidates.parquet")
    return frame.filter(pl.col("position") >= 0).sort("position").select("candidate_id", "seed", "sigma")


def n_units(summary: RunSummary) -> int:
    """Candidates on blocks of the selection split in the shards on disk, the base left out."""
    home = Home(summary.folder.parents[1])
    frame = pl.concat([pl.read_parquet(path) for path in list_shards(home.shards(summary.fingerprint))])
    asked = frame.filter((pl.col("split") == "selection") & (pl.col("candidate_id") != "base"))
    units = asked.select("candidate_id", "block")
    assert units.height == PER_BLOCK * units.unique().height, "something was scored twice"
    return units.unique().height


def stop_after(n_shards: int, config: RunConfig) -> None:
    """Start a run, and end it as if it had been killed after so many shards."""
    score, left = ScoringWorker.score, [n_shards]

    def stop(self: ScoringWorker, shard: Shard) -> ShardReport:
        if left[0] == 0:
            raise RunError("planted")
        left[0] -= 1
        return score(self, shard)

    with pytest.MonkeyPatch.context() as planted:
        planted.setattr(ScoringWorker, "score", stop)
        with pytest.raises(RunError, match="planted"):
            randopt(config)


def test_the_pilot_s_answers_decide_the_sigmas_of_the_others(piloted: RunSummary) -> None:
    even, found, pilot = population(N, SIGMAS, 0), candidates(piloted), piloted.pilot
    assert pilot is not None
    assert found["seed"].equals(even["seed"])
    assert found.head(N_PILOT).equals(even.head(N_PILOT).select(found.columns))
    home = Home(piloted.folder.parents[1])
    with open_scores(home, find_run(home, piloted.run_id)) as reader:
        outcomes = reader.first_outcomes("selection", N_PILOT)
    assert outcomes["candidate_id"].to_list() == found["candidate_id"].to_list()[:N_PILOT]
    assert learn(outcomes, PILOT["even"]) == pilot
    places = spread_out([row.millionths for row in pilot.sigmas])
    assert found["sigma"].to_list()[N_PILOT:] == [pilot.sigmas[next(places)].sigma for _ in range(N - N_PILOT)]
    assert not found["sigma"].equals(even["sigma"])
    assert n_units(piloted) == N * N_BLOCKS
    assert sum(row.n_candidates for row in piloted.sigmas) == piloted.n_candidates == N


def test_a_pilot_is_told(piloted: RunSummary) -> None:
    pilot = piloted.pilot
    assert pilot is not None
    [line] = [line for line in findings(piloted) if "pilot" in line]
    assert line.startswith(f"The pilot, the first {N_PILOT} candidates on {N_SELECTION} selection questions, had ")
    assert "<dt>Pilot</dt>" in (piloted.folder / "report.html").read_text()
    metrics = mlflow.MlflowClient(piloted.tracking.mlflow_uri).get_run(piloted.tracking.mlflow_run_id).data.metrics
    for row in pilot.sigmas:
        assert metrics[f"pilot.sigma.{row.sigma:g}.share"] == row.share
        assert metrics[f"pilot.sigma.{row.sigma:g}.mean_accuracy"] == pilot.accuracy(row)


def test_without_a_pilot_a_run_is_what_it_was(make: MakeConfig, piloted: RunSummary) -> None:
    config = make(pilot=None, size=12)
    plain = randopt(config)
    section = {"size": 12, "sigmas": SIGMAS, "seed": 0}
    verdicts = fingerprint(json.loads(RunFolder(plain.folder).judgement.read_text()))
    assert plain.run_id == run_id(
        "tiny", plain.fingerprint, verdicts, section, config.selection.model_dump(mode="json")
    )
    assert plain.fingerprint == piloted.fingerprint
    assert candidates(plain).equals(population(12, SIGMAS, 0).select("candidate_id", "seed", "sigma"))
    assert plain.pilot is None
    assert not any("pilot" in line for line in findings(plain))
    assert "<dt>Pilot</dt>" not in (plain.folder / "report.html").read_text()


@pytest.mark.slow
def test_a_run_that_is_stopped_anywhere_ends_the_same(make: MakeConfig, raced: RunSummary, tmp_path: Path) -> None:
    # The pilot's ten respondents (the base is one) on four blocks are 20 shards: stopped within it, and after it.
    for n_shards in (7, 16):
        stop_after(n_shards, make(tmp_path, scoring=RACED))
    resumed = randopt(make(tmp_path, scoring=RACED))
    assert outcome(resumed) == outcome(raced)
    assert candidates(resumed).equals(candidates(raced))
    assert n_units(resumed) == n_units(raced)
    manifests = [(each.folder / "manifest.json").read_bytes() for each in (resumed, raced)]
    assert manifests[0] == manifests[1]


@pytest.mark.slow
def test_a_larger_population_asks_the_new_ones_only(make: MakeConfig, piloted: RunSummary, tmp_path: Path) -> None:
    small = randopt(make(tmp_path, size=15))
    assert n_units(small) == 15 * N_BLOCKS
    large = randopt(make(tmp_path))
    assert candidates(small).equals(candidates(large).head(15))
    assert small.pilot == large.pilot
    assert n_units(large) == N * N_BLOCKS  # those of both runs: nobody was asked twice, and no one in vain
    assert outcome(large) == outcome(piloted)


def test_racing_takes_place_in_the_same_population_and_drops_none_of_the_pilot(
    raced: RunSummary, piloted: RunSummary
) -> None:
    race = raced.race
    assert race is not None
    assert candidates(raced).equals(candidates(piloted))
    assert raced.pilot == piloted.pilot
    assert race.n_answers == PER_BLOCK * n_units(raced)
    assert N_PILOT <= race.n_complete < N
    dropped = pl.read_parquet(raced.folder / "dropped.parquet")
    assert not set(dropped["candidate_id"]) & set(candidates(raced)["candidate_id"].to_list()[:N_PILOT])
    assert race.n_common == PER_BLOCK
    assert sum(row.n_candidates for row in raced.sigmas) == N


@pytest.mark.slow
def test_a_budget_pays_for_the_beginning_of_the_same_population(make: MakeConfig, piloted: RunSummary) -> None:
    given = sum(piloted.n_tokens.values())
    some = randopt(make(size=500, scoring=SCORING | {"budget": {"tokens": given}}))
    n = min(N, some.n_candidates)
    assert some.n_candidates > N_PILOT
    assert candidates(some).head(n).equals(candidates(piloted).head(n))
    assert some.pilot == piloted.pilot
    # One that ends before the pilot does: its candidates, and nothing learnt.
    few = randopt(make(size=500, pilot={"candidates": 300}, scoring=SCORING | {"budget": {"tokens": given}}))
    assert few.n_candidates < 300
    assert few.pilot is None
    assert candidates(few)["sigma"].equals(population(few.n_candidates, SIGMAS, 0)["sigma"])


@pytest.mark.slow
def test_every_problem_has_its_own_pilot_and_what_both_have_is_compared(make: MakeConfig, tmp_path: Path) -> None:
    config = make(tmp_path, size=15)
    assert config.problem is not None
    reverse = tmp_path / "reverse.jsonl"
    lines = Path(config.problem.path or "").read_text().replace("odd", "none").replace("even", "odd")
    reverse.write_text(lines.replace("none", "even"))
    other = config.problem.model_copy(update={"path": str(reverse)})
    both = config.model_copy(update={"problem": None, "problems": (config.problem, other)})
    found = randopt_many(both)
    home = Home(tmp_path)
    one, two = (candidates_in(find_run(home, run.run_id).root) for run in found.runs)
    assert one["seed"].equals(two["seed"])
    assert one.head(N_PILOT).equals(two.head(N_PILOT))
    assert not one["sigma"].equals(two["sigma"])
    shared = one.join(two, on="candidate_id", how="semi")
    expected = dict(shared.group_by("sigma").len().iter_rows())
    assert {row.sigma: row.n_candidates for row in found.discordance.sigmas} == expected


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"size": 60, "pilot": {"candidates": 60}}, "pilot.candidates is 60 of a population of 60"),
        ({"size": 60, "pilot": {"candidates": 8}}, "pilot.candidates is 8, but 3 sigmas need at least 9"),
        ({"size": 60, "sigmas": [0.1], "pilot": {}}, "sigmas names only 0.1; name at least two, or remove pilot"),
    ],
)
def test_a_pilot_that_cannot_decide_is_refused_with_the_fix(section: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=r"^population: pilot") as error:
        parse_config({"problem": "largest_number", "population": {"sigmas": SIGMAS} | section})
    assert says in str(error.value)
    assert "\n" not in str(error.value)
