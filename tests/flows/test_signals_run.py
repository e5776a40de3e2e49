"""The signals preset with a small population: the whole flow, its own figure, and going on after a loss."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from matplotlib.figure import Figure

from tests.storage.storage_samples import answers_in
from thickets.flows.config.file import load_config
from thickets.flows.config.preflight import check_inputs
from thickets.flows.config.run import RunConfig
from thickets.flows.models.materialize import materialize
from thickets.flows.placement.parity import compare_engines
from thickets.flows.publish.lineage import ensemble_answers
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run
from thickets.flows.results.summary import RunSummary
from thickets.flows.search.estimate import estimate
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.storage.models.manifest import EnsembleManifest
from thickets.storage.scores.database import ScoreStore
from thickets.storage.shards.file import list_shards
from thickets.tasks.evaluation.replies import replies_on_test
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.base import HasFigure, Replies
from thickets.tasks.serving import open_ensemble
from thickets.tasks.types import Candidate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models are made once for this file, and not in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THICKETS_CACHE", str(folder))
        yield folder


def config(home: Path, *overrides: str) -> RunConfig:
    small = ("population.size=40", "selection.k_values=[3,9]", "scoring.candidates_per_shard=10")
    data = ("data={selection: 30, validation: 20, test: 25}", f"storage.home={home}")
    return load_config("signals", [*small, *data, *overrides])


def outcome(summary: RunSummary) -> dict:
    """Everything a run found, without what differs from one execution to the next."""
    return summary.model_dump(exclude={"wall_s", "engine", "tracking", "folder"})


def rows(home: Path) -> pl.DataFrame:
    [shards] = (home / "shards").iterdir()
    return answers_in(shards).sort("candidate_id", "split", "example_id")


def test_a_run_goes_through_the_whole_flow_and_on_after_a_loss(tmp_path: Path) -> None:
    asked = config(tmp_path / "a")
    check_inputs(asked)
    summary = randopt(asked)
    found = summary.evaluation
    assert found.ensemble.n == 25
    assert summary.answers is not None
    assert summary.answers.candidates.n_cut_off == 0  # every answer is as long as it may be, and whole
    assert {control.name for control in found.controls} == {"self_consistency", "random_experts", "weight_average"}
    assert (summary.folder / "figures" / "predictions.png").stat().st_size > 20_000
    with ScoreStore.open(summary.folder / "scores.duckdb", summary.run_id) as store:
        voted = ensemble_answers(store, summary)["answer"].to_list()
        asked_for = store.query("select question from examples where split = 'test' order by position")
    served = open_ensemble(EnsembleManifest.load(summary.folder / "manifest.json"))
    assert [row.answer for row in served.ask(asked_for["question"].to_list()).rows] == voted
    before = rows(tmp_path / "a")
    assert before["completion"].n_unique() > 100

    shards = list_shards(Home(tmp_path / "a").shards(summary.fingerprint))
    kept = {path: path.stat().st_mtime_ns for path in shards[::2]}
    for path in shards[1::2]:
        path.unlink()
    for path in summary.folder.glob("scores.duckdb*"):
        path.unlink()
    again = randopt(asked)
    assert outcome(again) == outcome(summary)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert rows(tmp_path / "a").equals(before)

    divided = randopt(config(tmp_path / "b", "scoring.candidates_per_shard=37"))
    assert outcome(divided) == outcome(summary)
    assert rows(tmp_path / "b").equals(before)

    with pytest.raises(InputError, match="signals network signals-thicket, which nothing but the signals engine"):
        materialize(Home(tmp_path / "a"), find_run(Home(tmp_path / "a"), "latest"), 1, tmp_path / "expert")


def test_the_figure_is_drawn_from_the_stored_answers(tmp_path: Path) -> None:
    summary = randopt(config(tmp_path))
    ids = [Candidate(int(expert.seed), expert.sigma).id for expert in summary.experts]
    experts = pl.DataFrame(
        {"candidate_id": ids, "rank": range(1, len(ids) + 1), "n_correct": [e.n_correct for e in summary.experts]}
    )
    shards = Home(tmp_path).shards(summary.fingerprint)
    with ScoreStore.open(summary.folder / "scores.duckdb", summary.run_id, shards) as store:
        replies = replies_on_test(store, experts, "majority", 3)
        right = store.query(
            "select sum(correct::int) from scores where split = 'test' and candidate_id = 'base'"
        ).item()
    written = rows(tmp_path).filter(pl.col("split") == "test")
    base = written.filter(pl.col("candidate_id") == "base")
    assert right == base["correct"].sum()
    best = written.filter(pl.col("candidate_id") == ids[0])
    for reply in replies:
        assert reply.base in base["completion"]
        assert reply.experts[0] in best["completion"]
        assert len(reply.experts) == len(ids)
        assert 0 < len(reply.others) <= len(ids)
    problem = load_problem(ProblemConfig(name="signals"))
    assert isinstance(problem, HasFigure)
    assert not isinstance(load_problem(ProblemConfig(name="largest_number")), HasFigure)
    figure = problem.figure(replies)
    assert isinstance(figure, Figure)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles == [f"ensemble votes {reply.answer}, {'right' if reply.correct else 'wrong'}" for reply in replies]


def test_the_figure_bears_replies_that_are_too_short() -> None:
    problem = load_problem(ProblemConfig(name="signals"))
    assert isinstance(problem, HasFigure)
    (example,) = problem.examples(1, seed=0)
    reply = Replies(example.question, example.answer, "", (), ("no idea", "0.10 0.20"), None, correct=False)
    figure = problem.figure([reply])
    assert figure.axes[0].get_title(loc="left") == "ensemble abstains"


def test_an_estimate_is_about_candidates_that_answer_together(tmp_path: Path) -> None:
    # The best of three: what else the machine does lengthens one probe or the other.
    few, many = ([estimate(config(tmp_path, f"scoring.candidates_per_shard={n}")) for _ in range(3)] for n in (1, 32))
    assert many[0].probe.tokens_per_completion == 12
    assert min(each.seconds for each in many) < min(each.seconds for each in few)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["engine.kind=transformers"], "engine.kind: found 'transformers', but the model is a signals network"),
        (["problem.name=largest_number"], "problem: a signals model reads prompts of 16 values"),
        (["problem.system=Hi"], "problem: a signals model reads prompts of 16 values"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        randopt(config(tmp_path, *overrides))


def test_parity_compares_two_signals_engines(tmp_path: Path) -> None:
    asked = config(tmp_path)
    result = compare_engines(asked, asked, config(tmp_path, "engine.threads=1"), n_candidates=2)
    assert result.parity.n_same_text == result.parity.n == 90
