"""A whole run whose answers are texts: graded by similarity, chosen and answered by the text closest to all others."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import NamedTuple

import mlflow
import polars as pl
import pytest

from tests.flows.publishing import published
from tests.flows.run_table_checks import check_tables
from tests.flows.tiny_run import tiny_sections
from thickets.flows.api.searches import rescore
from thickets.flows.cli.tables_models import answer_json, answer_table
from thickets.flows.config.file import parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.distillation.plan import plan_distillation
from thickets.flows.models.open import find_model
from thickets.flows.publish.lineage import ensemble_answers
from thickets.flows.randopt import randopt
from thickets.flows.results.compare import compare
from thickets.flows.results.runs import example_votes, find_run, open_scores
from thickets.flows.results.sentences import findings
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.storage.models.base import resolve_model
from thickets.tasks.engines import resolve_spec
from thickets.tasks.evaluation.controls import attempts
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.serving import Answers

pytestmark = pytest.mark.slow

K = 5
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Finished(NamedTuple):
    """A run, its votes on the test split, every expert's answers there, and the questions."""

    config: RunConfig
    home: Home
    summary: RunSummary
    voted: pl.DataFrame
    cast: pl.DataFrame
    questions: list[str]


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Finished:
    folder, rng = tmp_path_factory.mktemp("texts"), random.Random(0)
    # What a model of random characters has something in common with: words of one character.
    rows = [{"prompt": f"{n}, and then?", "continuation": " ".join(rng.choices(LETTERS, k=12))} for n in range(60)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sections = {
        "problem": {"name": "rocstories", "path": str(folder / "pairs.jsonl"), "right_at": 0.1},
        "decoding": {"max_tokens": 40},
        "population": {"size": 6, "sigmas": [0.05, 0.2]},
        "selection": {"k_values": [K]},
        "storage": {"home": str(folder / "home")},
    }
    config = parse_config({"name": "texts", **tiny_sections(tiny_model), **sections})
    with published():
        summary = randopt(config)
    home = Home(config.storage.home)
    with open_scores(home, find_run(home, summary.run_id)) as scores:
        ids = [f"{int(row.seed):016x}@{row.sigma!r}" for row in summary.experts]
        weights = [row.weight for row in summary.experts]
        experts = pl.DataFrame({"candidate_id": ids, "rank": range(1, K + 1), "weight": weights})
        cast = ballots(scores, "test", experts)
        questions = scores.questions("test")["question"].to_list()
        return Finished(config, home, summary, ensemble_answers(scores, summary), cast, questions)


@pytest.fixture(scope="module")
def served(run: Finished) -> Answers:
    answerer = find_model(run.home, run.summary.run_id).open()
    try:
        return answerer.ask(run.questions)
    finally:
        answerer.close()


def test_texts_are_graded_and_the_closest_one_is_the_answer(run: Finished) -> None:
    found = run.summary.evaluation
    assert (run.summary.is_graded, found.metric, found.k) == (True, "rougeL", K)
    assert found.vote == "closest-text"
    assert found.ensemble.points == run.voted["score"].sum() == found.test_curve[-1].accuracy.points
    # No two answers are equal, so that counting them would take the best expert's.
    assert run.cast.group_by("example_id").n_unique()["answer"].min() == K
    assert run.voted["answer"].to_list() != run.cast.filter(rank=1)["answer"].to_list()
    assert run.voted["similarity"].max() > run.voted["similarity"].min() >= 0  # type: ignore[operator]


def test_sql_says_what_the_evaluation_says(run: Finished) -> None:
    with open_scores(run.home, find_run(run.home, run.summary.run_id)) as scores:
        check_tables(scores, run.summary)


def test_the_samples_of_the_base_vote_in_the_same_way(run: Finished) -> None:
    [control] = [each for each in run.summary.evaluation.controls if each.name == "self_consistency"]
    with open_scores(run.home, find_run(run.home, run.summary.run_id)) as scores:
        ids = [who.id for who in attempts(K, run.config.controls.temperature, run.config.controls.seed)]
        cast = ballots(scores, "test", pl.DataFrame({"candidate_id": ids, "rank": range(1, K + 1), "n_correct": 1}))
    closest, counted = (vote(cast, K, consensus=each)["score"].sum() for each in (Consensus("rougeL"), Consensus()))
    assert control.accuracy.points == closest != counted


def test_the_report_speaks_of_similarity_and_not_of_votes(run: Finished) -> None:
    page = (find_run(run.home, run.summary.run_id).root / "report.html").read_text()
    assert "The closest text" in page
    assert "Similarity to the others (rougeL)" in page
    assert ">Votes</th>" not in page
    assert ">Experts</th>" not in page
    assert any("similar by" in line and "rougeL" in line for line in findings(run.summary))
    with open_scores(run.home, find_run(run.home, run.summary.run_id)) as scores:
        shown = example_votes(scores, run.summary)
    assert shown.filter(who="vote")["answer"].to_list() == run.voted["answer"].to_list()[:3]


def test_the_ensemble_answers_as_the_run_did_and_asks_every_expert(run: Finished, served: Answers) -> None:
    assert [row.answer for row in served.rows] == run.voted["answer"].to_list()
    assert (served.saved, {row.n_asked for row in served.rows}) == (0, {K})
    one = Answers(served.rows[:1], served.k)
    assert answer_json(one)["similarity"] == one.rows[0].similarity is not None
    title, table = answer_table(one, votes=False).renderables
    assert "closest to the others" in str(title)
    assert [column.header for column in table.columns] == ["answer"]  # type: ignore[union-attr]


def test_mlflow_s_model_answers_with_similarities(run: Finished, served: Answers) -> None:
    tracking = run.summary.tracking
    client = mlflow.MlflowClient(tracking.mlflow_uri)
    page = client.get_run(tracking.mlflow_run_id)
    assert page.data.tags["thickets.vote"] == run.summary.evaluation.vote
    models = client.search_logged_models([page.info.experiment_id])
    [logged] = [each for each in models if each.name == "ensemble"]
    loaded = mlflow.pyfunc.load_model(logged.artifact_location)
    assert "similarity" in loaded.metadata.signature.outputs.input_names()
    predicted = loaded.predict(pl.DataFrame({"question": run.questions}).to_pandas())
    assert predicted["answer"].to_list() == run.voted["answer"].to_list()
    assert predicted["similarity"].to_list() == [row.similarity for row in served.rows]


def test_a_run_judged_by_another_metric_generates_nothing_and_can_be_compared(run: Finished) -> None:
    again = rescore(run.summary.run_id, ["problem.metric=rouge1"], home=run.home.root)
    assert again.evaluation.metric == "rouge1"
    assert again.fingerprint == run.summary.fingerprint
    compared = compare(run.home, [run.summary.run_id, again.run_id])
    assert [each.rule for each in compared.runs] == ["closest-text"] * 2


def test_a_margin_of_votes_is_refused_for_texts(run: Finished) -> None:
    section = {"distillation": {"examples": 5, "margin": 0.5, "min_rows": 1}}
    config = parse_config(run.config.model_dump(mode="json") | section)
    problem, data = load_problem(config.single_problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=data.seed)
    with pytest.raises(InputError, match=r"distillation\.margin is 0\.5, but the answers of rocstories are texts"):
        plan_distillation(config, resolve_model(config.model), problem, splits, resolve_spec)
