"""Promotion: registers a run's model, and makes it champion if it beats chance and is no worse than the present one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from thickets.flows.models.logged import (
    BASE_TAG,
    PROBLEM_TAG,
    TEST_ACCURACY_TAG,
    TEST_ANSWERS,
    TEST_SPLIT_TAG,
    content_of,
)
from thickets.flows.models.materialize import load_merge
from thickets.flows.results.runs import load_summary, open_scores
from thickets.flows.results.sentences import chance_verdict
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.tracking.models import (
    CONTENT_TAG,
    ModelKind,
    find_model,
    model_folder,
    name_on_page,
    process_uri,
)
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG, tracking_errors
from thickets.tasks.evaluation.controls import minus_chance
from thickets.tasks.results.intervals import Difference
from thickets.tasks.results.rival_method import METHOD_NAMES
from thickets.tasks.results.text import percent
from thickets.tasks.statistics import paired_difference, shares
from thickets.tasks.types import FULL

KIND_TITLES: dict[ModelKind, str] = {
    "ensemble": "ensemble",
    "student": "student",
    "merge": "merge",
    **{method: f"model of {name}" for method, name in METHOD_NAMES.items()},
}
CHAMPION = "champion"
FORCED_TAG = "thickets.forced"
DECISION_TAG = "thickets.decision"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")


class Promotion(BaseModel):
    """The result of a promotion.

    Attributes:
        name: Name of the registered model.
        version: Version of the registered model.
        is_new: Whether the version was registered now; the same model is not registered twice.
        is_champion: Whether the alias `champion` points to this version now.
        forced: Whether the alias was moved although the comparison did not allow it.
        reason: Why the alias points to this version, or does not, in a sentence.
        over_champion: Accuracy minus that of the previous champion, if both answered the same test questions.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    kind: ModelKind
    model_id: str
    run_id: str
    is_new: bool
    is_champion: bool
    forced: bool
    reason: str
    over_champion: Difference | None = None

    @property
    def uri(self) -> str:
        """The version, as MLflow and `thickets ask` name it."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class _Verdict:
    allows: bool
    reason: str
    difference: Difference | None = None
    is_champion: bool = False


def promote(
    folder: RunFolder, kind: ModelKind = "ensemble", name: str | None = None, *, force: bool = False
) -> Promotion:
    """Register a run's model, and move the alias `champion` to it if the champion is not better.

    A model that is not better than the run's control "chance" is not registered, unless it is forced or the champion
    already. Without that control there is nothing to compare with.

    Args:
        folder: A finished run.
        kind: Which of the run's models.
        name: Name of the registered model; None: problem and base, for instance ``gsm8k-qwen2-5-1-5b``.
        force: Move the alias whatever the comparisons say; the version is marked as forced.

    Raises:
        InputError: The run has no such model, it is not better than chance, or the name cannot be one.
        RunError: MLflow's store cannot be used.
    """
    summary = load_summary(folder)
    uri = summary.tracking.mlflow_uri
    content = content_of(load_merge(folder)) if kind == "merge" else None
    with tracking_errors(uri):
        tracker = Tracker.find(uri, summary.tracking.mlflow_run_id, folder.run_id)
        if tracker is None:
            raise InputError(f"RUN: {folder.run_id} is not in {uri}; log it first: thickets log {folder.run_id}")
        client = tracker.client
        model = find_model(client, tracker.experiment_id, folder.run_id, kind, content)
        if model is None:
            how = f"run its config again (nothing is scored twice): {folder.config}"
            if kind == "student":
                how = f"distil it first: thickets distill {folder.run_id}"
            elif kind in ("es", "grpo"):
                how = (
                    f"make it first: thickets rival {folder.run_id} --method {kind} (one that is the base is not kept)"
                )
            raise InputError(f"RUN: {folder.run_id} has no {KIND_TITLES[kind]} in MLflow; {how}")
        registered = name or default_name(model.tags[PROBLEM_TAG], model.tags[BASE_TAG])
        if not _NAME.fullmatch(registered):
            raise InputError(f"--name: {registered!r} cannot name a model; use letters, digits, spaces, '.', '_', '-'")
        champion = _champion(client, registered)
        doubt = None if champion and _is_of(champion, model) else _against_chance(folder, summary, uri, model, kind)
        if doubt and not force:
            raise InputError(f"RUN: {doubt}. Nothing is registered; --force makes it champion all the same")
        version, is_new = _register(client, uri, registered, model)
        verdict = _compare(client, uri, champion, version)
        against = [*([] if verdict.allows else [verdict.reason]), *([doubt] if doubt else [])]
        forced = force and bool(against)
        if verdict.allows or force:
            client.set_registered_model_alias(registered, CHAMPION, version.version)
        reason = f"forced, although {', and '.join(against)}" if forced else verdict.reason
        if verdict.is_champion:  # the decision of that time stays recorded
            forced = version.tags.get(FORCED_TAG) == "true"
            reason = f"{verdict.reason} ({version.tags.get(DECISION_TAG, 'set by hand')})"
        for tag, value in () if verdict.is_champion else ((DECISION_TAG, reason), (FORCED_TAG, str(forced).lower())):
            client.set_model_version_tag(registered, version.version, tag, value)
    return Promotion(
        name=registered,
        version=str(version.version),
        kind=kind,
        model_id=model.model_id,
        run_id=folder.run_id,
        is_new=is_new,
        is_champion=verdict.allows or force,
        forced=forced,
        reason=reason,
        over_champion=verdict.difference,
    )


def default_name(problem: str, base: str) -> str:
    """Name of the registered model that the models of one problem and one base compete for.

    ``gsm8k`` and ``Qwen/Qwen2.5-1.5B-Instruct`` give ``gsm8k-qwen2-5-1-5b-instruct``.
    """
    parts = (problem, Path(base).name.removesuffix(".gguf"))
    return "-".join(filter(None, (re.sub(r"[^a-z0-9_]+", "-", part.lower()).strip("-") for part in parts)))


def _register(client: Any, uri: str, name: str, model: Any) -> tuple[Any, bool]:
    """Return the registered version of a logged model, and whether it was registered now."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for version in client.search_model_versions(f"name = '{name}'"):
        if _is_of(version, model):
            return version, False
    tags = {tag: value for tag, value in model.tags.items() if tag.startswith("thickets.")}
    source = f"models:/{model.model_id}"
    with process_uri(uri):
        version = client.create_model_version(
            name,
            source,
            run_id=model.source_run_id,
            tags=tags,
            description=_description(model),
            model_id=model.model_id,
            await_creation_for=0,
        )
    name_on_page(client, model, name, version.version)
    return client.get_model_version(name, version.version), True


def _description(model: Any) -> str:
    """Write the description on the version's page."""
    tags, title = model.tags, KIND_TITLES[model.name]
    return (
        f"{title[0].upper()}{title[1:]} of {tags[RUN_ID_TAG]}: {tags[PROBLEM_TAG]} on {tags[BASE_TAG]}, test accuracy "
        f"{percent(float(tags[TEST_ACCURACY_TAG]))}. The source run has the configuration, the data sets and the "
        "report; its child runs have the tables and plots of each stage."
    )


def _champion(client: Any, name: str) -> Any | None:
    """Return the version that is the champion now, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def _is_of(version: Any, model: Any) -> bool:
    """Return whether a version is of this logged model, or of the same content from the same run."""
    return all(version.tags.get(tag) == model.tags[tag] for tag in (RUN_ID_TAG, CONTENT_TAG))


def _against_chance(folder: RunFolder, summary: RunSummary, uri: str, model: Any, kind: ModelKind) -> str | None:
    """Return what speaks against a model that is not better than chance on the test split; None if it is better."""
    chance = next((control for control in summary.evaluation.controls if control.name == "chance"), None)
    if chance is None:
        return None
    with open_scores(Home(folder.root.parents[1]), folder) as scores:
        answered = scores.questions("test").join(_answers(uri, model), on="example_id", maintain_order="left")
    gap = minus_chance(answered["correct"].to_list(), answered["answer"].to_list(), chance)
    found = chance_verdict(gap, f"the {KIND_TITLES[kind]}", chance)
    return None if found.kind == "better" else f"{found.sentence[0].lower()}{found.sentence[1:].removesuffix('.')}"


def _compare(client: Any, uri: str, champion: Any | None, version: Any) -> _Verdict:
    if champion is None:
        return _Verdict(True, "there was no champion")
    if str(champion.version) == str(version.version):
        return _Verdict(True, "it is the champion already", is_champion=True)
    who = f"the champion, version {champion.version},"
    if champion.tags.get(TEST_SPLIT_TAG) != version.tags[TEST_SPLIT_TAG]:
        return _Verdict(False, f"{who} was asked other test questions, or they were judged by another rule")
    ours, theirs = (
        _answers(uri, client.get_logged_model(each.source.removeprefix("models:/"))) for each in (version, champion)
    )
    both = ours.join(theirs, on="example_id", suffix="_theirs", maintain_order="left")
    if not both.height == ours.height == theirs.height:
        return _Verdict(False, f"{who} has no kept answer to some of the test questions")
    gap = paired_difference(shares(both), shares(both.select(score="score_theirs")))
    points = f"{100 * gap.value:+.1f} points [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    scores = " against ".join(percent(float(each.tags[TEST_ACCURACY_TAG])) for each in (version, champion))
    if gap.low >= 0:
        return _Verdict(True, f"{who} is not better: {scores}, {points} on the same {both.height} questions", gap)
    return _Verdict(
        False, f"a loss against {who} is not excluded: {scores}, {points} on the same {both.height} questions", gap
    )


def _answers(uri: str, model: Any) -> pl.DataFrame:
    """Read what a logged model made of the test questions, from the file that was logged with it.

    Returns:
        example_id, correct, score (thousandths; in files of versions without scores a correct answer has full marks).
    """
    kept = pl.read_parquet(model_folder(uri, model) / TEST_ANSWERS)
    if "score" not in kept.columns:
        kept = kept.with_columns(score=FULL * pl.col("correct").cast(pl.UInt16))
    return kept.select("example_id", "correct", "score")
