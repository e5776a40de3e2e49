"""The ensemble as a file: a base model's identity and K rows of (seed, sigma), about a kilobyte instead of K models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from thickets.storage.errors import InputError
from thickets.storage.files import write_text_atomically

_SHA256 = r"^[0-9a-f]{64}$"


def _seed_from_json(value: Any) -> Any:
    # int() alone would also take "1_000" and " 7"; a manifest is not the place to be lenient.
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


Seed = Annotated[
    int,
    Field(strict=True, ge=0, lt=2**64),
    BeforeValidator(_seed_from_json),
    PlainSerializer(str, return_type=str, when_used="json"),
]
"""An unsigned 64-bit key. In JSON a decimal string: many readers (JavaScript, jq) round integers above 2^53."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BaseIdentity(_Part):
    """The model the experts are neighbours of."""

    name: str = Field(description="as the user named it")
    revision: str = Field(description="hub commit, wheel version, GGUF hash prefix, or 'local'")
    sha256: str = Field(pattern=_SHA256, description="content hash of the weights")


class NoiseIdentity(_Part):
    """What turns (seed, sigma) into weights; `Perturbation.of` reads it."""

    version: int = Field(ge=1, description="noise_version of docs/design.md#noise")
    family: str = Field(description="'gaussian' or 'rademacher'")
    include: list[str] = Field(description="patterns of the parameters that are perturbed")
    exclude: list[str] = Field(description="patterns of those that are not, whatever include says")
    scale: list[tuple[str, float]] = Field(
        [],
        description="patterns, each with a factor on sigma; the first that matches a parameter decides, else it is 1",
    )

    @model_serializer(mode="wrap")
    def _without_an_empty_scale(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out factors that there are not: the files of other runs stay what they were, byte for byte."""
        values: dict[str, Any] = write(self)
        return values if self.scale else {name: value for name, value in values.items() if name != "scale"}


class ManifestExpert(_Part):
    """One expert."""

    rank: int = Field(ge=1, description="place in the method's order; 1 is the best")
    seed: Seed
    sigma: float = Field(gt=0, description="units of the weights")
    n_correct: int = Field(ge=0, description="correct answers on the selection split")
    weight: int = Field(ge=0, description="votes in a weighted vote")


class Recipe(_Part):
    """How a model is prompted and its completions are judged; the same for the ensemble, a student and the base."""

    problem_config: dict[str, Any] = Field(description="the config's problem section, without where its data lies")
    problem: dict[str, Any] = Field(description="identity of the problem")
    prompt_template: dict[str, Any] = Field(description="identity of the prompt template")
    decoding: dict[str, Any] = Field(description="how completions are decoded")
    engine: dict[str, Any] = Field(description="identity of the engine")


class MergeMember(_Part):
    """One candidate of a merge."""

    seed: Seed
    sigma: float = Field(gt=0, description="units of the weights")
    coefficient: float = Field(description="times sigma * z; may be negative")


class _Manifest(_Part):
    """What manifests can do; each lists its fields itself, so that files keep their order."""

    @property
    def recipe(self) -> Recipe:
        """Return how the model is prompted, decoded and judged."""
        return Recipe.model_validate(self.model_dump(include=set(Recipe.model_fields)))

    def save(self, path: Path) -> None:
        """Write the manifest as JSON; the file appears whole or not at all."""
        write_text_atomically(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a manifest.

        Raises:
            InputError: The file is absent or no manifest; the message names the first field that is wrong.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InputError(f"cannot read the manifest {path}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise InputError(f"manifest {path}: {where}: {first['msg']}") from None


class EnsembleManifest(_Manifest):
    """Everything that is needed to rebuild the ensemble and to put questions to it as its run did."""

    format_version: Literal[2] = 2
    base: BaseIdentity
    noise: NoiseIdentity
    experts: list[ManifestExpert] = Field(min_length=1, description="by rank")
    problem: dict[str, Any] = Field(description="name, data hash and whatever else identifies the problem")
    prompt_template: dict[str, Any] = Field(description="identity of the prompt template")
    decoding: dict[str, Any] = Field(description="how completions are decoded")
    method: str = Field(description="name of the method that ranked the experts")
    vote: str = Field(description="name of the vote rule")
    fingerprint: str = Field(pattern=_SHA256, description="of the run that selected the experts")
    problem_config: dict[str, Any] = Field(description="the config's problem section, without where its data lies")
    engine: dict[str, Any] = Field(description="identity of the engine the experts were selected with")

    @model_validator(mode="after")
    def _experts_are_in_order(self) -> Self:
        ranks = [expert.rank for expert in self.experts]
        if ranks != list(range(1, len(ranks) + 1)):
            raise ValueError(f"experts must have the ranks 1 to {len(ranks)} in order, found {ranks}")
        if len({(expert.seed, expert.sigma) for expert in self.experts}) < len(ranks):
            raise ValueError("two experts have the same seed and sigma")
        return self


class MergeManifest(_Manifest):
    """Everything that is needed to make a merge again, and to put questions to it as its run did."""

    format_version: Literal[1] = 1
    base: BaseIdentity
    noise: NoiseIdentity
    merge_version: Literal[1] = Field(1, description="of the definition in thickets.tasks.types.Merge")
    label: str = Field(description="what people call it")
    members: list[MergeMember] = Field(min_length=1, description="in the order in which their noise is added up")
    problem: dict[str, Any] = Field(description="name, data hash and whatever else identifies the problem")
    prompt_template: dict[str, Any] = Field(description="identity of the prompt template")
    decoding: dict[str, Any] = Field(description="how completions are decoded")
    fingerprint: str = Field(pattern=_SHA256, description="of the run that made it")
    problem_config: dict[str, Any] = Field(description="the config's problem section, without where its data lies")
    engine: dict[str, Any] = Field(description="identity of the engine that answered in the run")
