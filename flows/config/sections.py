"""The sections of a run's configuration, one class each; `thickets.flows.config.run.RunConfig` puts them together.

The engine's is in `thickets.flows.config.engine`, that of the distillation in `thickets.flows.config.distillation`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from thickets.tasks.engines.chat_template import RESERVED
from thickets.tasks.noise import Family, Perturbation
from thickets.tasks.results.evaluation import Method, VoteRule
from thickets.tasks.types import Scalar
from thickets.tasks.verifiers.thought import THOUGHT_TAGS

Sigma = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
_MOST_CANDIDATES = 100_000_000  # a list of them is gigabytes
_POSITIVE_INT = TypeAdapter(PositiveInt)
# Also an enum of one value, so that a form offers it instead of a line to type in.
Learned = Annotated[Literal["learned"], Field(title="learned", json_schema_extra={"enum": ["learned"]})]


class Section(BaseModel):
    """A part of the configuration: no unknown fields, and no changes once it is made.

    Where a list is wanted, a single value is a list of one: ``sigmas: 0.01`` is ``sigmas: [0.01]``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {
            name: [value] if isinstance(value, _SINGLE) and name in cls.model_fields and _is_list(cls, name) else value
            for name, value in values.items()
        }

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``size: yes``, which pydantic takes for 1."""
        items = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(item, bool) for item in items) and info.field_name is not None:
            allowed = set(_types(cls.model_fields[info.field_name].annotation))
            if allowed & {int, float} and bool not in allowed:
                raise ValueError(f"found {value!r}; it must be a number, or a list of them where one is wanted")
        return value


# What YAML and JSON have besides lists and nothing. Anything else, a set for instance, is for pydantic to judge.
_SINGLE = (str, int, float, dict, BaseModel)


def _is_list(section: type[BaseModel], name: str) -> bool:
    annotation = section.model_fields[name].annotation
    return tuple in (get_origin(annotation), *map(get_origin, get_args(annotation)))


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)


class DataConfig(Section):
    """Sizes of the three disjoint splits, in examples, and the seed that draws them."""

    selection: PositiveInt = Field(200, description="Examples that rank the candidates.")
    validation: PositiveInt = Field(200, description="Examples that choose K; never used to rank candidates.")
    test: PositiveInt = Field(500, description="Examples the result is reported on; answered once, at the end.")
    seed: int = Field(
        0, ge=0, lt=2**64, description="Seed of the shuffle that draws the splits (and of generated questions)."
    )
    too_long: Literal["error", "drop"] = Field(
        "error",
        description="Rows whose prompt leaves the model no room for an answer: error names the first, drop leaves them "
        "out of the split they were drawn for, which is then smaller; no other row moves.",
    )


# What a pilot needs of each sigma to tell how much its candidates differ.
_LEAST_PER_SIGMA = 3


class PilotConfig(Section):
    """The first candidates, with evenly shared sigmas, decide which sigmas the others get."""

    candidates: PositiveInt = Field(
        60, description="How many come first; they answer the whole selection split before the others are drawn."
    )
    even: float = Field(
        0.1,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the later candidates that all sigmas get alike, whatever the pilot says of them.",
    )


class PopulationConfig(Section):
    """Which perturbations are sampled."""

    size: PositiveInt = Field(
        5000, le=_MOST_CANDIDATES, description="Number of candidates, N. Raising it later scores only the new ones."
    )
    sigmas: tuple[Sigma, ...] = Field(
        (5e-4, 1e-3, 2e-3), min_length=1, description="Noise scales, in units of the weights; shared out evenly."
    )
    seed: int = Field(0, ge=0, lt=2**64, description="The one number the whole population is derived from.")
    pilot: PilotConfig | None = Field(
        None, description="Let the first candidates decide which sigmas the others get; empty: all get equal shares."
    )

    @field_validator("sigmas")
    @classmethod
    def _distinct(cls, sigmas: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(sigmas)) != len(sigmas):
            raise ValueError(f"{list(sigmas)} names a sigma twice; each may stand once")
        return sigmas

    @model_validator(mode="after")
    def _pilot_can_decide(self) -> Self:
        if self.pilot is None:
            return self
        n, n_sigmas = self.pilot.candidates, len(self.sigmas)
        if n_sigmas == 1:
            raise ValueError(
                f"pilot chooses among sigmas, but sigmas names only {self.sigmas[0]:g}; name at least two, or remove "
                "pilot"
            )
        if n < (least := _LEAST_PER_SIGMA * n_sigmas):
            raise ValueError(
                f"pilot.candidates is {n}, but {n_sigmas} sigmas need at least {least}, {_LEAST_PER_SIGMA} of each to "
                f"tell how much they differ; raise it, or name fewer sigmas"
            )
        if n >= self.size:
            raise ValueError(
                f"pilot.candidates is {n} of a population of {self.size}, which leaves none to decide about; lower it, "
                "raise population.size, or remove pilot"
            )
        return self


class NoiseConfig(Section):
    """What a perturbation does to the weights."""

    family: Family = Field("gaussian", description="Distribution of the noise.")
    include: tuple[str, ...] = Field(("*",), min_length=1, description="Parameter name patterns to perturb.")
    exclude: tuple[str, ...] = Field(
        Perturbation().exclude, description="Parameter name patterns to leave alone (default: vision towers)."
    )


class DecodingConfig(Section):
    """How answers are generated; greedily, but for the samples of `controls`."""

    max_tokens: Annotated[int, Field(gt=0, title="a number")] | Learned | None = Field(
        None,
        description="Most new tokens per answer: a number, or learned: what the base's right answers to the selection "
        "split need, at most the problem's own; empty: the problem's own.",
    )
    stop: tuple[str, ...] | None = Field(None, description="Strings that end an answer; empty: the problem's own.")
    reasoning: tuple[str, str] | None = Field(
        THOUGHT_TAGS,
        description="What begins and what ends a thought. A finished one is removed before an answer is looked for; "
        "an unfinished one is an abstention. Empty: replies hold no thoughts.",
    )
    chat_template_kwargs: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Values for the model's chat template, for example enable_thinking: false; empty: none.",
    )

    @field_validator("max_tokens", mode="before")
    @classmethod
    def _number_or_learned(cls, value: object) -> object:
        if value is None or value == "learned":
            return value
        try:
            return _POSITIVE_INT.validate_python(value)
        except ValidationError:  # one line about it instead of one per alternative
            raise ValueError(
                f"found {value!r}; give a number of tokens greater than 0, learned, or nothing for the problem's own"
            ) from None

    @field_validator("reasoning", mode="before")
    @classmethod
    def _two_different_tags(cls, tags: object) -> object:
        if not tags:
            return None
        found = list(tags) if isinstance(tags, list | tuple) else []
        texts = {tag.lower() for tag in found if isinstance(tag, str) and tag.strip()}
        if len(found) != 2 or len(texts) != 2:
            raise ValueError(
                f"found {tags!r}; give two different strings that are not empty, what begins a thought and what ends "
                "it, or nothing if replies hold no thoughts"
            )
        return tags

    @field_validator("chat_template_kwargs", mode="before")
    @classmethod
    def _names_and_scalars(cls, values: object) -> object:
        if values is None:
            return {}
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            raise ValueError(f"found {values!r}; give names and values, for example {{enable_thinking: false}}")
        if taken := sorted(RESERVED & values.keys()):
            raise ValueError(f"rendering a prompt sets {', '.join(taken)} itself; remove it")
        for name, value in values.items():
            is_finite = not isinstance(value, float) or math.isfinite(value)
            if not isinstance(value, str | int | float | None) or not is_finite:
                raise ValueError(f"{name} is {value!r}; give a text, a finite number, true, false or null")
        return values

    @property
    def learns_limit(self) -> bool:
        """Whether the limit comes from the base's answers."""
        return self.max_tokens == "learned"


class RacingConfig(Section):
    """Racing: candidates answer the selection split block by block, and after each block hopeless ones are dropped."""

    z: float = Field(
        1.64,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        description="Width of the intervals, in standard deviations: a candidate whose interval ends below the K-th "
        "best's is dropped. Smaller saves more and loses more; 1000 drops only who cannot reach the best K any more.",
    )
    keep: float | None = Field(
        None,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="Largest share of the candidates that goes on after each block, but never fewer than the best K; "
        "empty: the intervals alone decide.",
    )


class BudgetConfig(Section):
    """Most that a run may cost; as many candidates are scored as it pays for."""

    tokens: PositiveInt | None = Field(None, description="Tokens to generate in all, controls included.")
    minutes: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Minutes until the report is there, training not included."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.tokens is None) == (self.minutes is None):
            raise ValueError(f"tokens is {self.tokens} and minutes is {self.minutes}; give exactly one of the two")
        return self


# Of what an empty `scoring.examples_per_block` stands for, by device; see `thickets.flows.config.sizes`.
LEAST_BLOCK = 256


class ScoringConfig(Section):
    """Division of the work. Only `examples_per_block` can change an answer; `racing` decides which candidates go on."""

    examples_per_block: PositiveInt | None = Field(
        None,
        description="Examples answered together by one candidate: the unit of generation; empty: 1024 on CUDA, "
        "elsewhere 256.",
    )
    candidates_per_shard: PositiveInt = Field(
        4,
        description="Candidates per task and file, what a kill can lose: at most; several engines get smaller ones "
        "towards the end of a stage.",
    )
    retries: int = Field(2, ge=0, le=10, description="Further attempts at a shard whose engine failed.")
    unit_timeout_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds one candidate may take on one block before its engine counts as hung and is replaced; "
        "empty: half an hour, or longer if the block's answers may take longer at 10 tokens per second (200 on a GPU).",
    )
    budget: BudgetConfig | None = Field(
        None, description="Score as many candidates as this pays for, up to population.size; empty: all of them."
    )
    racing: RacingConfig | None = Field(
        None, description="Ask hopeless candidates no further selection questions; empty: ask everybody all of them."
    )


class SelectionConfig(Section):
    """Which candidates become experts, how many, and how they vote; what is listed is compared on validation."""

    k_values: tuple[PositiveInt, ...] = Field(
        (5, 10, 25, 50), min_length=1, description="Ensemble sizes tried on the validation split."
    )
    methods: tuple[Method, ...] = Field(
        ("top_k",),
        min_length=1,
        description="Rankings tried on the validation split: top_k by score, shrunken by the accuracy to expect on new "
        "questions given all candidates of the sigma, diverse by score less errors shared with those before.",
    )
    votes: tuple[VoteRule, ...] = Field(
        ("majority",),
        min_length=1,
        description="Vote rules tried on the validation split: majority is one vote per expert, weighted counts each "
        "by its selection score (shrunken: by its expected accuracy).",
    )

    @field_validator("k_values")
    @classmethod
    def _ascending(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError(f"{list(values)} must be distinct and in ascending order")
        return values

    @field_validator("methods", "votes")
    @classmethod
    def _listed_once(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) != len(values):
            raise ValueError(f"{list(values)} names one twice; each may stand once")
        return values


class ControlsConfig(Section):
    """Controls of the ensemble on the test split; none of them changes which experts are selected."""

    self_consistency: bool = Field(
        True, description="Sample the base K times and let it vote: the rival that costs as many answers."
    )
    # At least 0.01: vLLM takes less for 0.01, and it would be greedy decoding in all but name.
    temperature: float = Field(0.7, ge=0.01, le=2, description="Temperature of these samples.")
    random_experts: bool = Field(
        True, description="Let K candidates vote that were drawn from the population without looking at their scores."
    )
    weight_average: bool = Field(
        True, description="Answer with one model whose weights are the mean of the K experts': it costs one answer."
    )
    best_prompt: bool = Field(
        True,
        description="Ask the base in a few other wordings, choose the best on the validation split, and let it answer "
        "the test split: greedily, and sampled K times if self_consistency is on.",
    )
    prompts: tuple[str, ...] = Field(
        (),
        description="These wordings, each with {question} where the question goes; empty: some made from the "
        "problem's own instruction.",
    )
    chance: bool = Field(
        True, description="Report what guessing reaches, where questions have options or answers come back."
    )
    seed: int = Field(0, ge=0, lt=2**64, description="Seed of the samples and of the random candidates.")

    @field_validator("prompts")
    @classmethod
    def _usable_prompts(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        for place, prompt in enumerate(prompts):
            if (found := prompt.count("{question}")) != 1:
                raise ValueError(
                    f"[{place}] contains {{question}} {found} times: {prompt!r}; write {{question}} exactly once, "
                    "where the question goes"
                )
            if prompt in prompts[:place]:
                raise ValueError(f"[{place}] is {prompt!r} once more; each wording may stand once")
        return prompts


class TrackingConfig(Section):
    """Where MLflow keeps the run."""

    uri: str | None = Field(
        None, description="MLflow tracking URI; empty: $MLFLOW_TRACKING_URI, else an SQLite file in storage.home."
    )
    experiment: str = Field("thickets", min_length=1, description="MLflow experiment.")

    @field_validator("uri")
    @classmethod
    def _holds_no_password(cls, uri: str | None) -> str | None:
        return _without_password(uri, "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (a database: PGPASSWORD)")


class StorageConfig(Section):
    """Where scores, completions and results are kept."""

    home: Path = Field(
        default_factory=lambda: Path(os.environ.get("THICKETS_HOME", "thickets-data")),
        description="Folder for everything that lasts (default: $THICKETS_HOME, else thickets-data).",
    )
    shards: str | None = Field(
        None,
        min_length=1,
        description="Where shards (completions and verdicts) go: a folder that every machine sees, or a URL such as "
        "s3://bucket/prefix; empty: inside storage.home.",
    )

    @field_validator("home", mode="before")
    @classmethod
    def _is_named(cls, home: object) -> object:
        if home == "":
            raise ValueError("found ''; name a folder (. is the one you are in)")
        return home

    @field_validator("shards")
    @classmethod
    def _holds_no_password(cls, shards: str | None) -> str | None:
        return _without_password(shards, "the variables of the store, such as AWS_SECRET_ACCESS_KEY")


def _without_password(address: str | None, instead: str) -> str | None:
    """Refuse ``scheme://user:password@host``: a configuration is kept in files, in Prefect and in MLflow."""
    try:
        holds_one = address is not None and "://" in address and urlsplit(address).password is not None
    except ValueError as error:
        raise ValueError(f"found {address!r}, which is no address: {error}") from None
    if holds_one:
        raise ValueError(f"holds a password, which would be kept with the run; take it out and set {instead}")
    return address
