"""From a finished run to everything its distillation needs: experts, training examples, identity, folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from thickets.flows.config.distillation import DistillationConfig
from thickets.flows.config.file import load_config
from thickets.flows.config.run import RunConfig
from thickets.flows.distillation.earlier import EarlierRows, read_earlier, start_of
from thickets.flows.model_in_place import model_in_place
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.results.distillation import DistillFolder, DistillSummary, distill_folder
from thickets.flows.results.runs import load_summary
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.flows.search.answer_limit import recall
from thickets.storage.errors import InputError
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.base import BaseModelRef
from thickets.tasks.distillation.data import Rules
from thickets.tasks.distillation.training import check_can_learn, library_versions
from thickets.tasks.engines import EngineSpec
from thickets.tasks.evaluation.controls import attempts
from thickets.tasks.problems import Problem
from thickets.tasks.problems.consensus import consensus_of
from thickets.tasks.problems.splits import Split, Splits, draw_training
from thickets.tasks.seeds import POPULATION_SCHEMA
from thickets.tasks.types import Attempt, Candidate, Respondent


@dataclass(frozen=True, slots=True)
class DistillPlan:
    """A distillation before anything is scored.

    Attributes:
        run: The finished run.
        found: The result of the run.
        section: The `distillation` section.
        start: The model that is trained: the run's base, or that of the first of the earlier distillations.
        earlier: What earlier distillations have trained on, if this one takes it as well.
        training: Examples that no split of the run holds.
        answers: The plan of answering them; its blocks are those of the training split.
        id: Names the distillation among those of the run.
        folder: Where it is kept.
    """

    run: RunPlan
    found: RunSummary
    section: DistillationConfig
    start: BaseModelRef
    earlier: tuple[EarlierRows, ...]
    training: Split
    answers: RunPlan
    id: str
    folder: DistillFolder

    @property
    def experts(self) -> pl.DataFrame:
        """The run's experts as they vote: rank, candidate_id, weight."""
        return experts_of(self.found)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The experts, by rank."""
        return tuple(Candidate(int(row.seed), row.sigma) for row in self.found.experts)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The samples of the base that tell which examples are hard."""
        return attempts(self.section.attempts, self.section.temperature, self.section.seed)

    @property
    def respondents(self) -> list[Respondent]:
        """The respondents of the training split: experts and samples of the base."""
        return [*self.candidates, *self.attempts]

    @property
    def population(self) -> pl.DataFrame:
        """The experts as the score database registers them."""
        rows = [(who.id, who.seed, who.sigma, place) for place, who in enumerate(self.candidates)]
        return pl.DataFrame(rows, schema=POPULATION_SCHEMA, orient="row")

    @property
    def rules(self) -> Rules:
        """The rules by which answers become training rows."""
        section = self.section
        return Rules(hard_only=section.hard_only, max_per_example=section.max_per_example, margin=section.margin)

    def student_plan(self, student: BaseModelRef) -> RunPlan:
        """Return the run's plan with a student in place of the base: the same blocks, prompts and engine."""
        return model_in_place(self.run, student)


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
        problem: The run's problem.
        splits: The run's three splits.
        resolve: As for `thickets.flows.plan.make_plan`.

    Raises:
        InputError: The run is not finished, or there is too little data for a training split.
    """
    section = config.distillation
    if section is None:
        raise InputError("distillation: missing; add the section to the config, or --set distillation.examples=500")
    check_can_learn(base.name, base.path)
    _check_margin(section, problem)
    learned = recall(config, base, problem, splits, resolve)
    limit = None if learned is None else learned.max_tokens
    run = make_plan(config, base, problem, splits, resolve, limit=limit)
    run_folder = run.home.run(run.run_id)
    if not run_folder.summary.is_file():
        raise InputError(
            f"RUN: there is no finished run {run.run_id}, which is what this configuration is called here; finish it "
            "first. (If it was made elsewhere or with other versions, its answers and a student's would not compare.)"
        )
    found = load_summary(run_folder)
    training = draw_training(problem, run.splits, section.examples, section.seed)
    answers = make_plan(config, base, problem, run.splits, resolve, scored=(training,), limit=limit)
    name = distillation_id(run.run_id, section)
    return DistillPlan(
        run=run,
        found=found,
        section=section,
        start=start_of(run.home, section.earlier) or base,
        earlier=tuple(read_earlier(run.home, name, problem, run.splits) for name in section.earlier),
        training=answers.scored[0],
        answers=answers,
        id=name,
        folder=distill_folder(run_folder, name),
    )


def _check_margin(section: DistillationConfig, problem: Problem) -> None:
    if section.margin is not None and consensus_of(problem).is_closest:
        raise InputError(
            f"distillation.margin is {section.margin:g}, but the answers of {problem.name} are texts, which are "
            "compared and not counted, so none leads by a share of the votes; remove it: verified answers are kept"
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
    """Load the result of a run's distillation, by the run's configuration.

    Raises:
        InputError: It is not finished.
    """
    assert config.distillation is not None
    run = Home(config.storage.home).run(run_id)
    return distill_folder(run, distillation_id(run_id, config.distillation)).load()


def distillation_id(run_id: str, section: DistillationConfig) -> str:
    """Return the first 8 hex digits of the hash of everything that can change a student."""
    # A later setting counts where it is set, so that students made before it keep their ids.
    later = set() if section.earlier else {"earlier"}
    settings = section.model_dump(mode="json", exclude=later)
    content = {"run": run_id, "distillation": settings, "libraries": library_versions()}
    return fingerprint(content)[:8]
