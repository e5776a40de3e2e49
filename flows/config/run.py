"""The configuration of a run: every knob, its bounds, and what it means.

The Prefect UI draws its form from these models, so titles and descriptions are written for a reader who sees nothing
else. Defaults come from the paper's scripts (Gan & Isola 2026) where it has one. Sections have files of their names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from thickets.flows.config.controls import ControlsConfig
from thickets.flows.config.data import DataConfig
from thickets.flows.config.decoding import DecodingConfig
from thickets.flows.config.distillation import DistillationConfig
from thickets.flows.config.engine import EngineConfig, VllmConfig
from thickets.flows.config.merge import MergeConfig
from thickets.flows.config.name import NAME
from thickets.flows.config.population import NoiseConfig, PilotConfig, PopulationConfig
from thickets.flows.config.rivals import RivalsConfig
from thickets.flows.config.rounds import RoundsConfig
from thickets.flows.config.scoring import LEAST_BLOCK, BudgetConfig, RacingConfig, ScoringConfig
from thickets.flows.config.section import Section
from thickets.flows.config.selection import SelectionConfig
from thickets.flows.config.storage import StorageConfig, TrackingConfig
from thickets.storage.errors import InputError
from thickets.tasks.noise import Perturbation
from thickets.tasks.noise.spec import check_sigma, scaled_sigma
from thickets.tasks.problems.config import ProblemConfig

__all__ = [
    "BudgetConfig",
    "ControlsConfig",
    "DataConfig",
    "DecodingConfig",
    "DistillationConfig",
    "EngineConfig",
    "MergeConfig",
    "NoiseConfig",
    "PilotConfig",
    "PopulationConfig",
    "RacingConfig",
    "RivalsConfig",
    "RoundsConfig",
    "RunConfig",
    "ScoringConfig",
    "SelectionConfig",
    "StorageConfig",
    "TrackingConfig",
    "VllmConfig",
]


def _selection_that_fits(validated: dict[str, Any]) -> SelectionConfig:
    """Make the default section, less the ensemble sizes that the population is too small for."""
    default = SelectionConfig()
    population = validated.get("population")  # missing if it is itself at fault
    if population is None or population.size >= default.k_values[-1]:
        return default
    fitting = tuple(k for k in default.k_values if k <= population.size)
    return SelectionConfig(k_values=fitting or (population.size,))


def one_block(n_questions: int, per_block: int, *, is_configured: bool) -> str:
    """Say that a race needs more than one block.

    Args:
        n_questions: Of the selection split.
        per_block: `scoring.examples_per_block`, or what the device makes of an empty one.
        is_configured: It is not empty.
    """
    found = f"{per_block}" if is_configured else f"empty, here {per_block},"
    fitting = max(1, n_questions // 4)
    return (
        f"scoring.racing decides between blocks, but scoring.examples_per_block is {found} and data.selection "
        f"{n_questions}, which is one block; set scoring.examples_per_block below data.selection (for example "
        f"{fitting}), or data.selection above {per_block}"
    )


class RunConfig(Section):
    """A search: a model, a problem (or several, one after the other), a population, and how the best of it vote.

    Raises:
        ValueError: pydantic's ValidationError, where a field cannot be used; `load_config` raises an InputError.

    Example:
        >>> from thickets import RunConfig
        >>> config = RunConfig(problem="largest_number", population={"size": 48})
        >>> config.model, config.selection.k_values
        ('smollm2-135m-instruct', (5, 10, 25))
    """

    # The Prefect UI shows this above its form; the docstring is for readers of Python.
    model_config = ConfigDict(
        json_schema_extra={"description": "A search: a model, a problem or several, a population, and how it votes."}
    )

    name: str = Field("run", description="Label of the run; part of its id.")
    model: str = Field(
        "smollm2-135m-instruct",
        min_length=1,
        description="Hugging Face id, local folder, GGUF file, or the built-in smollm2-135m-instruct; for problem "
        "signals: signals-needle, signals-thicket or signals-plateau.",
    )
    revision: str | None = Field(None, description="Revision of a Hugging Face model; empty: its main branch.")
    problem: ProblemConfig | None = Field(None, description="What is asked and how answers are judged.")
    problems: tuple[ProblemConfig, ...] | None = Field(
        None,
        min_length=2,
        description="Instead of problem: several, searched one after the other with the same population and compared.",
    )
    data: DataConfig = Field(default_factory=DataConfig)
    population: PopulationConfig = Field(default_factory=PopulationConfig)
    noise: NoiseConfig = Field(default_factory=NoiseConfig)
    decoding: DecodingConfig = Field(default_factory=DecodingConfig)
    engine: EngineConfig = Field(default_factory=EngineConfig)
    scoring: ScoringConfig = Field(default_factory=ScoringConfig)
    selection: SelectionConfig = Field(default_factory=_selection_that_fits)
    controls: ControlsConfig = Field(default_factory=ControlsConfig)
    merge: MergeConfig | None = Field(
        None, description="Also try one model made of the population's noise, without a vote; empty: do not."
    )
    rounds: RoundsConfig | None = Field(
        None, description="Search around the merge or the student, and so on; empty: a single search."
    )
    distillation: DistillationConfig | None = Field(
        None, description="Train one model on the experts' answers afterwards; empty: do not."
    )
    rivals: RivalsConfig | None = Field(
        None, description="Try other methods on the same budget afterwards; empty: do not."
    )
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
    storage: StorageConfig = Field(default_factory=StorageConfig)

    @field_validator("name")
    @classmethod
    def _safe_name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} must be 1 to 41 of a-z, 0-9, '.', '_', '-', and begin with a letter or digit")
        return name

    @model_validator(mode="after")
    def _k_within_population(self) -> Self:
        largest = self.selection.k_values[-1]
        if largest > self.population.size:
            raise ValueError(
                f"selection.k_values asks for K = {largest} experts of a population of {self.population.size}; "
                f"lower it to at most {self.population.size} or raise population.size"
            )
        return self

    @model_validator(mode="after")
    def _merge_within_population(self) -> Self:
        for k in self.merge.k if self.merge else ():
            if k > self.population.size:
                raise ValueError(
                    f"merge.k has {k}, of a population of {self.population.size}; lower it to at most "
                    f"{self.population.size} or raise population.size"
                )
        return self

    @model_validator(mode="after")
    def _scaled_sigmas_are_numbers(self) -> Self:
        for pattern, factor in self.noise.scale:
            for sigma in self.population.sigmas:
                try:
                    if factor > 0:
                        check_sigma(scaled_sigma(sigma, factor))
                except InputError:
                    raise ValueError(
                        f"noise.scale has {factor:g} for {pattern!r}, which times sigma {sigma:g} is no number above 0 "
                        "in float32; use 0 to leave these parameters as they are, or a factor nearer to 1"
                    ) from None
        return self

    @model_validator(mode="after")
    def _rounds_can_be_made(self) -> Self:
        if self.rounds is None:
            return self
        needed = "merge" if self.rounds.by == "merge" else "distillation"
        if getattr(self, needed) is None:
            raise ValueError(
                f"rounds: a round begins with what the one before has made, but {needed} is missing; add it "
                f"(rounds.by is {self.rounds.by})"
            )
        if self.rounds.student_from == "base" and self.distillation and self.distillation.objective == "logits":
            raise ValueError(
                "rounds.student_from is base, but distillation.objective is logits: the experts' distributions on the "
                "rows of earlier rounds were never made; set student_from to round or objective to sft"
            )
        for name in ("problems", "rivals"):
            if getattr(self, name) is not None:
                later = "runs of rounds can have it later, each by its id"
                raise ValueError(f"rounds and {name} are both set; remove one ({later})")
        if self.rounds.by == "merge" and self.distillation is not None:
            raise ValueError(
                "rounds and distillation are both set, but rounds.by is merge; set it to distill, or remove one "
                "(runs of rounds can be distilled later)"
            )
        return self

    @model_validator(mode="after")
    def _rivals_learn_from_the_selection_split(self) -> Self:
        asked = self.rivals.questions if self.rivals else None
        if asked is not None and asked < self.data.selection:
            raise ValueError(
                f"rivals.questions is {asked}, but data.selection is {self.data.selection}, and rivals learn from all "
                "of these and others; make it larger, or leave it empty"
            )
        return self

    @model_validator(mode="after")
    def _can_be_raced(self) -> Self:
        if self.scoring.racing is None:
            return self
        if "shrunken" in self.selection.methods:
            raise ValueError(
                "scoring.racing drops candidates before they have answered everything, but selection.methods lists "
                "shrunken, which needs every candidate's whole score; remove one of the two"
            )
        # Left empty it depends on the device; `thickets.flows.plan` looks again when that is known.
        configured = self.scoring.examples_per_block
        if (per_block := configured or LEAST_BLOCK) >= self.data.selection:
            raise ValueError(one_block(self.data.selection, per_block, is_configured=configured is not None))
        return self

    @model_validator(mode="after")
    def _one_problem_or_several(self) -> Self:
        if self.problem is None and self.problems is None:
            raise ValueError("problem: missing; name one problem, or at least two as problems: [...]")
        if self.problem is not None and self.problems is not None:
            raise ValueError(
                f"problem is {self.problem.name} and problems names {len(self.problems)} more; keep one of the two "
                "fields (--set problem=null removes the other)"
            )
        several = self.problems or ()
        for index, problem in enumerate(several):
            if (first := several.index(problem)) != index:
                raise ValueError(f"problems[{index}] repeats problems[{first}]; each may stand once")
        return self

    @property
    def label(self) -> str:
        """Name of the flow runs: `name` if one was chosen, else problem and model, e.g. ``gsm8k-smollm2-135m``."""
        if self.name != type(self).model_fields["name"].default:
            return self.name
        problem = self.problem.title if self.problem else f"{len(self.problems or ())}-problems"
        model = Path(self.model).name.lower().removesuffix(".gguf").removesuffix("-instruct")
        return f"{re.sub('[:_ ]', '-', problem)}-{model}"

    @property
    def single_problem(self) -> ProblemConfig:
        """The problem of a search that has only one.

        Raises:
            InputError: There are several.
        """
        if self.problem is None:
            raise InputError(
                f"problems: found {len(self.problems or ())} where one is wanted; start several with "
                "`thickets.search` or `thickets run`, or set problem to one of them and problems to null"
            )
        return self.problem

    @property
    def per_problem(self) -> tuple[RunConfig, ...]:
        """One configuration per problem, each as if it named that problem alone."""
        if self.problems is None:
            return (self,)
        return tuple(self.model_copy(update={"problem": problem, "problems": None}) for problem in self.problems)

    @property
    def perturbation(self) -> Perturbation:
        """The noise section as the noise package takes it, before its rule; see `noise_scale.settled`."""
        return Perturbation(self.noise.family, self.noise.include, self.noise.exclude, self.noise.scale)
