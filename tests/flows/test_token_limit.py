"""`decoding.max_tokens: learned`: one limit for everything that is compared, the same whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.flows.watched_engine import engine_that_ends_after
from tests.tiny_model import make_tiny_model
from thickets.flows.config.file import parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.distillation.plan import distill_config, plan_distillation
from thickets.flows.placement.engines import Engines
from thickets.flows.plan import make_plan, own_limit
from thickets.flows.randopt import randopt
from thickets.flows.report.reproduce import reproduction
from thickets.flows.results.runs import open_scores
from thickets.flows.results.sentences import findings
from thickets.flows.results.summary import RunSummary
from thickets.flows.search.answer_limit import recall
from thickets.flows.search.estimate import estimate
from thickets.flows.search.progress import ScoringProgress
from thickets.flows.search.search import search
from thickets.storage.errors import InputError, RunError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.base import resolve_model
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.adaptive.token_limit import FLOOR
from thickets.tasks.engines import Engine, EngineSpec, build_engine, resolve_spec
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.scoring.identity import run_id
from thickets.tasks.scoring.units import Shard
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.types import Example, Sampling

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]
OWN = 64  # of the verifier `exact`
SHORT = 13  # tokens; longer answers of the base are made wrong
STOP = ("e", "a")
N_BLOCKS = 3  # of the selection split


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and questions that it answers at any length; right are its own short answers."""
    place = tmp_path_factory.mktemp("limit")
    make_tiny_model(place / "model")
    engine = TransformersEngine(EngineSpec("transformers", place / "model", Perturbation(), batch_size=5))
    template = PromptTemplate.from_folder(place / "model")
    problem = load_problem(ProblemConfig(name="file", path=str(place / "questions.jsonl"), instruction="{question}"))
    questions = [f"Say the word number {number}, please" for number in range(66)]
    prompts = [template.render([{"role": "user", "content": question}]) for question in questions]
    rows = []
    for question, said in zip(questions, engine.generate(prompts, Sampling(OWN, STOP)), strict=True):
        example = Example("", question, said.text)
        is_right = said.finish_reason == "stop" and said.n_tokens <= SHORT and problem.extract(said.text, example)
        rows.append({"question": question, "answer": said.text if is_right else "nothing"})
    (place / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.fixture
def config(place: Path, tmp_path: Path) -> MakeConfig:
    return lambda **sections: _config(place, tmp_path / "home", **sections)


def _config(place: Path, home: Path, **sections: object) -> RunConfig:
    values = {
        "name": "tiny",
        "model": str(place / "model"),
        "problem": {"name": "file", "path": str(place / "questions.jsonl"), "instruction": "{question}"},
        "data": {"selection": 30, "validation": 10, "test": 20},
        "population": {"size": 6, "sigmas": [0.01, 0.05]},
        "decoding": {"max_tokens": "learned", "stop": STOP},
        "engine": {"kind": "transformers", "device": "cpu", "batch_size": 5},
        "scoring": {"examples_per_block": 10, "candidates_per_shard": 2, "retries": 0},
        "selection": {"k_values": [1, 3]},
        "controls": {"best_prompt": False},
        "storage": {"home": str(home)},
    }
    return parse_config(values | sections)


@pytest.fixture(scope="module")
def home(place: Path) -> Path:
    return place / "home"


@pytest.fixture(scope="module")
def built() -> list[int]:
    """The batch sizes of the engines that were built for `learned`."""
    return []


@pytest.fixture(scope="module")
def learned(place: Path, home: Path, built: list[int], prefect_server: None) -> RunSummary:
    def build(spec: EngineSpec) -> Engine:
        built.append(spec.batch_size)
        return build_engine(spec)

    return search(_config(place, home), build=build)


def parts(config: RunConfig):  # type: ignore[no-untyped-def]
    """What `make_plan` takes."""
    data, problem = config.data, load_problem(config.single_problem)
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=data.seed)
    return config, resolve_model(config.model), problem, splits


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Shards by name: when each was written, and as which file."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in sorted(folder.glob("*.parquet"))}


def same(summary: RunSummary) -> dict:
    return summary.model_dump(exclude={"wall_s", "engine", "tracking", "folder"})


def test_everything_is_decoded_under_the_limit_that_the_base_has_taught(learned: RunSummary, home: Path) -> None:
    limit = learned.limit
    assert limit is not None
    assert (limit.own, limit.n_answers) == (OWN, 30)
    assert 5 <= limit.n_ended == limit.n_right < 30
    assert limit.longest <= SHORT
    assert limit.max_tokens == FLOOR
    folder = RunFolder(learned.folder)
    with open_scores(Home(home), folder) as scores:
        longest = scores.query("select split, max(n_tokens) as n from scores group by split order by split")
    assert longest.rows() == [(split, limit.max_tokens) for split in ("selection", "test", "validation")]
    assert EnsembleManifest.load(folder.manifest).decoding["max_tokens"] == limit.max_tokens
    assert json.loads(folder.identity.read_text())["decoding"]["max_tokens"] == limit.max_tokens
    assert learned.base_selection.n_correct == limit.n_right, "what counted is as right under the limit"


def test_it_is_said_what_was_learned_and_what_that_cost(learned: RunSummary) -> None:
    limit = learned.limit
    assert limit is not None
    assert learned.n_tokens["limit"] == limit.n_tokens > 0
    [line] = [line for line in findings(learned) if line.startswith("Limit ")]
    assert line.startswith(f"Limit {limit.max_tokens} of 64 tokens, from {limit.n_ended} right answers of the base, ")
    again = reproduction(RunFolder(learned.folder), learned)
    assert ("limit, learned", f"{limit.max_tokens} tokens per answer") in again.identity
    assert ("limit", limit.n_tokens) in again.tokens
    assert "max_tokens: learned" in again.config


def test_only_the_base_answers_only_the_selection_split_under_the_problem_s_own(
    learned: RunSummary, place: Path, home: Path
) -> None:
    own = make_plan(*parts(own_limit(_config(place, home))))
    assert own.fingerprint != learned.fingerprint
    asked = pl.concat([pl.read_parquet(path) for path in own.shards.glob("*.parquet")])
    assert asked.height == 30
    assert asked.select("candidate_id", "split").unique().rows() == [("base", "selection")]


def test_one_engine_serves_the_base_s_answers_and_the_search(learned: RunSummary, built: list[int]) -> None:
    assert learned.limit is not None
    assert built == [5]


@pytest.mark.slow
def test_it_is_the_run_of_that_limit_and_shares_its_answers(
    learned: RunSummary, place: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert learned.limit is not None
    monkeypatch.setattr(ScoringWorker, "score", lambda self, shard: pytest.fail(f"{shard.id} was scored again"))
    explicit = randopt(_config(place, home, decoding={"max_tokens": learned.limit.max_tokens, "stop": STOP}))
    assert explicit.fingerprint == learned.fingerprint
    assert explicit.run_id != learned.run_id
    assert explicit.evaluation == learned.evaluation
    assert explicit.limit is None
    assert "limit" not in explicit.n_tokens


@pytest.mark.parametrize("n_units", [1, N_BLOCKS], ids=["among the base's answers", "between them and the search"])
@pytest.mark.slow
def test_a_run_that_is_stopped_learns_the_same_and_asks_nothing_twice(
    n_units: int, learned: RunSummary, config: MakeConfig
) -> None:
    asked = config()
    own = make_plan(*parts(own_limit(asked)))
    with pytest.raises(RuntimeError, match="planted"):
        search(asked, build=engine_that_ends_after(n_units))
    before = files(own.shards)
    assert len(before) == n_units
    assert not (asked.storage.home / "shards" / learned.fingerprint[:16]).exists()
    assert same(randopt(asked)) == same(learned)
    after = files(own.shards)
    assert len(after) == N_BLOCKS
    assert {name: after[name] for name in before} == before


def test_without_right_answers_the_problem_s_own_limit_stays_and_is_said(
    place: Path, config: MakeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [json.loads(line) | {"answer": "nothing"} for line in (place / "questions.jsonl").read_text().splitlines()]
    (tmp_path / "hard.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hard = {"name": "file", "path": str(tmp_path / "hard.jsonl"), "instruction": "{question}"}
    asked = config(
        problem=hard,
        population={"size": 1, "sigmas": [0.01]},
        selection={"k_values": [1]},
        data={"selection": 30, "validation": 2, "test": 2},
        controls=dict.fromkeys(("self_consistency", "random_experts", "weight_average", "best_prompt"), False),
    )
    found = randopt(asked)
    assert found.limit is not None
    assert found.limit.max_tokens == OWN
    assert found.fingerprint == make_plan(*parts(own_limit(asked))).fingerprint
    assert found.n_tokens["limit"] == 0, "these answers are the run's own"
    assert "limit 64 tokens, the problem's own: of 30 answers of the base 0 are right" in caplog.text


@pytest.mark.slow
def test_what_the_base_s_answers_took_is_spent_of_a_budget(learned: RunSummary, config: MakeConfig) -> None:
    limit = learned.limit
    assert limit is not None
    controls = {"self_consistency": False, "random_experts": False, "weight_average": False, "best_prompt": False}
    rest = {
        "population": {"size": 30, "sigmas": [0.01, 0.05]},
        "selection": {"k_values": [3]},
        "controls": controls,
    }
    per_candidate = learned.n_tokens["selection"] // 7
    given = limit.n_tokens + 6 * per_candidate + 132 * limit.max_tokens  # of 120 answers after the selection split
    scoring = config().scoring.model_dump(exclude_none=True) | {"budget": {"tokens": given}}
    found = randopt(config(**rest, scoring=scoring))
    assert 3 <= found.n_candidates < 10
    assert found.n_tokens["limit"] == limit.n_tokens
    assert sum(found.n_tokens.values()) <= given
    more = randopt(config(**rest, scoring=scoring, decoding={"max_tokens": limit.max_tokens, "stop": STOP}))
    assert more.fingerprint == found.fingerprint
    assert found.n_candidates < more.n_candidates < 30


def test_an_estimate_counts_the_base_s_answers_and_has_the_probe_s_limit(config: MakeConfig) -> None:
    found = estimate(config(engine={"kind": "transformers", "device": "cpu", "batch_size": 30}))
    assert found.limit is not None
    assert found.limit.n_answers == 10, "a batch ends with its block"
    assert found.completions["limit"] == 30
    others = sum(count for name, count in found.completions.items() if name != "limit")
    assert found.tokens_at_most == others * found.limit.max_tokens + 30 * OWN


@pytest.mark.slow
def test_a_distillation_is_decoded_under_the_run_s_limit(
    learned: RunSummary, place: Path, home: Path, tmp_path: Path
) -> None:
    assert learned.limit is not None
    asked = distill_config(
        Home(home), RunFolder(learned.folder), ["distillation.examples=6", "distillation.min_rows=1"]
    )
    plan = plan_distillation(*parts(asked), resolve=resolve_spec)
    assert plan.run.run_id == learned.run_id
    assert plan.answers.sampling.max_tokens == plan.run.sampling.max_tokens == learned.limit.max_tokens
    assert plan.student_plan(resolve_model(str(place / "model"))).sampling == plan.run.sampling
    elsewhere = asked.model_copy(update={"storage": asked.storage.model_copy(update={"home": tmp_path})})
    with pytest.raises(InputError, match=r"^RUN: decoding\.max_tokens is learned, and the answers of the base"):
        recall(*parts(elsewhere), resolve_spec)


def test_an_engine_with_other_settings_is_another_one(config: MakeConfig) -> None:
    """What stays is what is equal; the engine before is closed before the next one is built."""
    events: list[str] = []

    def build(spec: EngineSpec) -> Engine:
        engine = build_engine(spec)
        events.append(f"build {spec.batch_size}")
        engine.close = lambda: events.append(f"close {spec.batch_size}")  # type: ignore[method-assign]
        return engine

    asked = own_limit(config())
    small = asked.model_copy(update={"engine": asked.engine.model_copy(update={"batch_size": 2})})
    with Engines(ScoringProgress().on_unit, build) as engines:
        for each in (asked, small, small):
            plan = make_plan(*parts(each))
            executor = engines.turn_to(plan)
            executor.score(Shard("selection", 0, (None,)))
            plan.shard_folder.set_aside(plan.shards)
    assert events == ["build 5", "close 5", "build 2", "close 2"]


def test_without_it_a_run_has_the_id_it_always_had_and_with_it_a_limit_is_needed(config: MakeConfig) -> None:
    for max_tokens in (None, 7):
        plain = config(decoding={"max_tokens": max_tokens, "stop": STOP})
        plan = make_plan(*parts(plain))
        assert plan.sampling.max_tokens == (max_tokens or OWN)
        sections = (
            plain.population.model_dump(mode="json", exclude_none=True),
            plain.selection.model_dump(mode="json"),
        )
        assert plan.run_id == run_id("tiny", plan.fingerprint, plan.verdicts, *sections)
    with pytest.raises(RunError, match=r"^decoding\.max_tokens is learned"):
        make_plan(*parts(config()))
