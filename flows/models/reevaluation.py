"""Evaluates a finished model on a new file of questions: accuracy, cost, and the base on the same questions."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from thickets.flows.models.logged import content_of, recipe_title
from thickets.flows.models.open import NamedModel
from thickets.flows.runtime.mlflow_server import tracked
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.storage.models.manifest import MergeManifest
from thickets.storage.tracking.models import ModelKind, find_model, link_model
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG, STAGE_TAG
from thickets.tasks.datafiles import Row, Source, read_rows
from thickets.tasks.problems import Problem, find_kind
from thickets.tasks.problems.fields import REASONING_GYM_PREFIX
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.splits import content_sha256
from thickets.tasks.results.intervals import Accuracy, Difference
from thickets.tasks.results.text import score_metrics
from thickets.tasks.serving import Answers, Voter, load_recipe_problem, open_ensemble, recipe_reasoning
from thickets.tasks.statistics import accuracy_of, paired_difference, shares
from thickets.tasks.types import Example

# reasoning_gym makes a question from these numbers, and needs them to judge an answer.
_ENTRY = ("seed", "size", "index")


class Reevaluation(BaseModel):
    """Result of a model on a file.

    Attributes:
        model: The name that was given.
        data: The file.
        sha256: Hash of its examples.
        k: Experts that voted; 1 for a single model.
        saved: Share of the experts' answers that were not needed because the vote was decided earlier.
        n_tokens: Tokens generated, by all experts.
        base: The base on the same questions, if requested.
        over_base: Accuracy minus that of the base.
        mlflow_run_id: MLflow's id of the run that holds this result.
        mlflow_address: Address of that run's page, or how to serve it.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model: str
    data: str
    sha256: str
    k: int
    accuracy: Accuracy
    saved: float
    n_tokens: int
    base: Accuracy | None = None
    over_base: Difference | None = None
    mlflow_run_id: str = ""
    mlflow_address: str = ""


def reevaluate(
    home: Home,
    model: NamedModel,
    data: Path,
    columns: dict[str, str],
    *,
    k: int = 0,
    with_base: bool = False,
    device: str = "auto",
) -> Reevaluation:
    """Let a model answer every question of a file, judge the answers as its run did, and log an MLflow run.

    Args:
        home: The home whose MLflow store is used, unless the model names another store.
        model: The model.
        data: In any form that `problem.path` takes; its columns as the run's problem calls them, unless `columns` says
            otherwise.
        columns: ``question_column``, ``answer_column`` or ``id_column`` of the file.
        k: How many experts vote; 0: all.
        with_base: Let the base answer as well.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.

    Raises:
        InputError: The file does not fit the problem, or the model cannot be used.
    """
    if with_base and model.manifest is None:
        raise InputError(f"--base: the run that {model.title} comes from is not in {home.root}")
    examples = read_examples(model, data, columns)
    answerer = model.open(device)
    try:
        answers = answerer.answer(examples, k=k)
    finally:
        answerer.close()
    verdicts = judged(answerer.judge, examples, answers)
    found = Reevaluation(
        model=model.title,
        data=data.name,
        sha256=content_sha256(examples),
        k=answers.k,
        accuracy=accuracy_of(verdicts),
        saved=answers.saved,
        n_tokens=sum(row.n_tokens for row in answers.rows),
    )
    table = _table(examples, answers, verdicts)
    if with_base:
        assert model.manifest is not None
        alone = [Voter(None)]
        base = open_ensemble(model.manifest, device=device, trust_remote_code=model.trust_remote_code, voters=alone)
        try:
            of_base = judged(base.judge, examples, base_answers := base.answer(examples))
        finally:
            base.close()
        gap = paired_difference(shares(verdicts), shares(of_base))
        found = found.model_copy(update={"base": accuracy_of(of_base), "over_base": gap})
        table = table.with_columns(
            base_answer=pl.Series([row.answer for row in base_answers.rows], dtype=pl.String),
            base_correct=of_base["correct"],
            base_score=of_base["score"],
        )
    return _log(home, model, found, table)


def read_examples(model: NamedModel, data: Path, columns: dict[str, str]) -> list[Example]:
    """Read a file as examples of the model's problem, and check that its verifier accepts each gold answer.

    Raises:
        InputError: A row does not fit; the message names it.
    """
    names = {"id_column": None, "question_column": "question", "answer_column": "answer"}
    config = model.recipe.problem_config
    kind = find_kind(config["name"])
    is_file = kind is not None and kind.reads_data
    names = {name: columns.get(name, config.get(name) if is_file else default) for name, default in names.items()}
    if is_file:
        problem = load_recipe_problem(model.recipe, **names)
        assert isinstance(problem, FileProblem)
        return problem.read("DATA", str(data))
    problem = load_recipe_problem(model.recipe)
    source = Source(
        field="DATA",
        location=str(data),
        default_split="test",
        id_column=names["id_column"],
        question_column=names["question_column"] or "",
        answer_column=names["answer_column"] or "",
        keep_columns=True,
    )
    rows, judge = read_rows(source), Judge(problem, recipe_reasoning(model.recipe))
    for row in rows:
        _check_entry(problem, source, row)
        [gold] = judge.judge([f"<answer>{row.example.answer}</answer>"], [row.example])
        if not gold.correct:
            found = f"the gold answer {row.example.answer[-60:]!r}"
            raise source.error(f"{found} is not one that {problem.name} would mark right", row.place)
    return [row.example for row in rows]


def _check_entry(problem: Problem, source: Source, row: Row) -> None:
    if not problem.name.startswith(REASONING_GYM_PREFIX):
        return
    if not all(type(row.example.metadata.get(name)) is int for name in _ENTRY):
        raise source.error(
            f"{problem.name} judges answers with the entry that a question was made from; whole numbers in the columns "
            f"{', '.join(_ENTRY)} must name it",
            row.place,
        )


def judged(judge: Judge, examples: list[Example], answers: Answers) -> pl.DataFrame:
    """Return the verdict on each answer: correct, score (thousandths); an abstention is wrong and scores 0."""
    verdicts = [judge.of_answer(row.answer, example) for row, example in zip(answers.rows, examples, strict=True)]
    return pl.DataFrame(
        {"correct": [each.correct for each in verdicts], "score": [each.score for each in verdicts]},
        schema={"correct": pl.Boolean, "score": pl.UInt16},
    )


def _table(examples: list[Example], answers: Answers, verdicts: pl.DataFrame) -> pl.DataFrame:
    table = pl.DataFrame(
        {
            "example_id": [example.id for example in examples],
            "question": [example.question for example in examples],
            "gold": [example.answer for example in examples],
            "answer": pl.Series([row.answer for row in answers.rows], dtype=pl.String),
            "correct": verdicts["correct"],
            "score": verdicts["score"],
            "margin": [row.margin for row in answers.rows],
            "n_votes": [row.n_votes for row in answers.rows],
            "n_asked": [row.n_asked for row in answers.rows],
        }
    )
    if all(row.similarity is None for row in answers.rows):
        return table
    return table.with_columns(similarity=pl.Series([row.similarity for row in answers.rows], dtype=pl.Float64))


def _log(home: Home, model: NamedModel, found: Reevaluation, table: pl.DataFrame) -> Reevaluation:
    """Return the result with its MLflow run, or as it is if MLflow does not take it: it has been paid for."""
    with tracked("the evaluation"):
        return _logged(home, model, found, table)
    return found


def _logged(home: Home, model: NamedModel, found: Reevaluation, table: pl.DataFrame) -> Reevaluation:
    tags = {
        # A new id each time: `Tracker.start` takes RUNNING MLflow runs of the same id for dead ones.
        RUN_ID_TAG: f"evaluation-{secrets.token_hex(4)}",
        STAGE_TAG: "reevaluation",
        "thickets.model": model.title,
    }
    name = f"evaluate {model.title}"
    with Tracker.start(home, model.experiment, name, tags, uri=model.tracking_uri) as tracker:
        tracker.log_config({"model": model.title, "data": found.data, "k": found.k})
        dataset = (f"{recipe_title(model.recipe)}/{found.data}", found.sha256)
        tracker.log_dataset(*dataset, table.select("example_id", "question", "gold"), "evaluation")
        model_id = model.model_id
        if model_id is None and model.run_id is not None:
            kind: ModelKind = "ensemble"
            content = None  # a run has one ensemble, but may have had other merges
            if isinstance(model.manifest, MergeManifest):
                kind, content = "merge", content_of(model.manifest)
            logged = find_model(tracker.client, tracker.experiment_id, model.run_id, kind, content)
            model_id = logged.model_id if logged else None
        if model_id is not None:
            link_model(tracker, model_id)
        graded = any(each.is_graded for each in (found.accuracy, found.base) if each)
        figures: dict[str, Any] = {
            **score_metrics("", found.accuracy, is_graded=graded),
            "saved": found.saved,
            "tokens": found.n_tokens,
        }
        tracker.log_metrics(figures, model_id=model_id, dataset=dataset)
        if found.base and found.over_base:
            gap = found.over_base
            compared = {"over_base": gap.value, "over_base_low": gap.low, "over_base_high": gap.high}
            figure = "mean_score" if graded else "accuracy"
            compared |= {"base.accuracy": found.base.share_right, f"base.{figure}": found.base.value}
            tracker.log_metrics(compared, dataset=dataset)
        tracker.log_table("answers", table)
        found = found.model_copy(update={"mlflow_run_id": tracker.run_id, "mlflow_address": tracker.describe()})
        tracker.log_json("evaluation.json", found.model_dump(mode="json"))
    return found
