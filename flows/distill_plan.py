"""From a finished run to everything its distillation needs: experts, training examples, identity, folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from flows.config import RunConfig
from flows.config_file import load_config
from flows.distill_summary import DistillSummary
from flows.distillation_config import DistillationConfig
from flows.history import load_summary
from flows.plan import RunPlan, make_plan
from flows.summary import RunSummary
from storage.errors import InputError
from storage.fingerprint import fingerprint
from storage.layout import Home, RunFolder
from storage.models import BaseModelRef
from tasks.controls import attempts
from tasks.distillation.data import Rules
from tasks.distillation.training import library_versions
from tasks.engines import EngineSpec
from tasks.problems import Problem
from tasks.seeds import POPULATION_SCHEMA, candidates_of
from tasks.splits import Split, Splits, draw_training
from tasks.types import Attempt, Candidate, Respondent
from tasks.units import candidate_id


@dataclass(frozen=True, slots=True)
class DistillFolder:
    """The files of one distillation.

    Attributes:
        root: ``<home>/runs/<run_id>/distillation/<hash>``.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The run's config with this `distillation` section, as YAML."""
        return self.root / "config.yaml"

    @property
    def scores(self) -> Path:
        """The training split's answers of experts and base, as a DuckDB file."""
        return self.root / "scores.duckdb"

    @property
    def data(self) -> Path:
        """The training data of every arm."""
        return self.root / "data.parquet"

    @property
    def summary(self) -> Path:
        """What was found, as JSON."""
        return self.root / "summary.json"

    @property
    def targets(self) -> Path:
        """Folder of the experts' token distributions, for objective logits."""
        return self.root / "work" / "targets"

    def model(self, arm: str) -> Path:
        """The checkpoint of an arm; that of the student is ``student``."""
        return self.root / arm

    def work(self, arm: str) -> Path:
        """Folder of an arm's training and scores."""
        return self.root / "work" / arm


@dataclass(frozen=True, slots=True)
class DistillPlan:
    """A distillation before anything is scored.

    Attributes:
        run: The finished run.
        found: What it found.
        section: How it is distilled.
        experts: The run's experts by rank: rank, candidate_id, seed, sigma, n_correct.
        training: Examples that no split of the run holds.
        answers: The plan of answering them; its blocks are those of the training split.
        id: Names the distillation among those of the run.
        folder: Where it is kept.
    """

    run: RunPlan
    found: RunSummary
    section: DistillationConfig
    experts: pl.DataFrame
    training: Split
    answers: RunPlan
    id: str
    folder: DistillFolder

    @property
    def candidates(self) -> list[Candidate]:
        """The experts, by rank."""
        return candidates_of(self.experts)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The samples of the base that tell which examples are hard."""
        return attempts(self.section.attempts, self.section.temperature, self.section.seed)

    @property
    def respondents(self) -> list[Respondent]:
        """Who answers the training split."""
        return [*self.candidates, *self.attempts]

    @property
    def population(self) -> pl.DataFrame:
        """The experts as the score database registers them."""
        positions = pl.col("rank").cast(pl.Int64).sub(1).alias("position")
        return self.experts.with_columns(positions).select(POPULATION_SCHEMA.names()).cast(POPULATION_SCHEMA)

    @property
    def rules(self) -> Rules:
        """What is kept of the answers."""
        section = self.section
        return Rules(hard_only=section.hard_only, max_per_example=section.max_per_example, margin=section.margin)

    def student_plan(self, student: BaseModelRef) -> RunPlan:
        """The run again, with a student in the place of the base: the same blocks, prompts and engine."""
        config = self.run.config.model_copy(update={"model": str(student.path), "revision": None})
        return make_plan(config, student, self.run.problem, self.run.splits, lambda spec: _as_in(self.run.engine, spec))


def plan_distillation(
    config: RunConfig,
    base: BaseModelRef,
    problem: Problem,
    splits: Splits,
    resolve: Callable[[EngineSpec], EngineSpec],
) -> DistillPlan:
    """Put a distillation together; nothing is computed or written.

    Args:
        config: Of the run, with a `distillation` section.
        base: The base model.
        problem: What is asked of it.
        splits: The run's three splits.
        resolve: As for `flows.plan.make_plan`.

    Raises:
        InputError: The run is not finished, or there is too little data for a training split.
    """
    section = config.distillation
    if section is None:
        raise InputError("distillation: missing; add the section to the config, or --set distillation.examples=500")
    run = make_plan(config, base, problem, splits, resolve)
    run_folder = run.home.run(run.run_id)
    found = load_summary(run_folder)
    training = draw_training(problem, splits, section.examples, section.seed)
    name = distillation_id(run.run_id, section)
    return DistillPlan(
        run=run,
        found=found,
        section=section,
        experts=_experts(found),
        training=training,
        answers=make_plan(config, base, problem, splits, resolve, asked=(training,)),
        id=name,
        folder=distill_folder(run_folder, name),
    )


def distill_config(home: Home, folder: RunFolder, overrides: Sequence[str]) -> RunConfig:
    """The configuration of a finished run, with its `distillation` section as the overrides change it.

    Raises:
        InputError: The run is not finished, or an override is about anything else.
    """
    load_summary(folder)
    for override in overrides:
        if not override.startswith("distillation."):
            raise InputError(
                f"--set: {override!r} would change the run that is distilled; only distillation.FIELD=VALUE is possible"
            )
    config = load_config(str(folder.config), overrides)
    storage = config.storage.model_copy(update={"home": home.root})
    section = config.distillation or DistillationConfig()
    return config.model_copy(update={"storage": storage, "distillation": section})


def load_distillation(config: RunConfig, run_id: str) -> DistillSummary:
    """What the distillation of a configuration has found.

    Raises:
        InputError: It is not finished.
    """
    assert config.distillation is not None
    home = Home(config.storage.home)
    path = distill_folder(home.run(run_id), distillation_id(run_id, config.distillation)).summary
    if not path.is_file():
        raise InputError(f"RUN: the distillation of {run_id} is not finished; run the same command again to go on")
    return DistillSummary.model_validate_json(path.read_text(encoding="utf-8"))


def distillation_id(run_id: str, section: DistillationConfig) -> str:
    """The first 8 hex digits of the hash of all that can change a student."""
    content = {"run": run_id, "distillation": section.model_dump(mode="json"), "libraries": library_versions()}
    return fingerprint(content)[:8]


def distill_folder(run: RunFolder, name: str) -> DistillFolder:
    """Where a distillation of a run is kept."""
    return DistillFolder(run.root / "distillation" / name)


def _experts(found: RunSummary) -> pl.DataFrame:
    rows = [
        (row.rank, candidate_id(Candidate(int(row.seed), row.sigma)), int(row.seed), row.sigma, row.n_correct)
        for row in found.experts
    ]
    schema = {
        "rank": pl.UInt32,
        "candidate_id": pl.String,
        "seed": pl.UInt64,
        "sigma": pl.Float64,
        "n_correct": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _as_in(engine: EngineSpec, spec: EngineSpec) -> EngineSpec:
    """The kind and device that the run has found, whatever is here now."""
    return replace(spec, kind=engine.kind, device=engine.device)
