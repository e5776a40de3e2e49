"""What a materialized checkpoint is: README.md for people, thickets.json for machines, the same facts in both."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from thickets.storage.models.base import hub_commit
from thickets.storage.models.manifest import BaseIdentity, MergeMember, NoiseIdentity, Seed

CARD = "README.md"
FACTS = "thickets.json"


class SelectionScore(BaseModel):
    """A candidate's score and rank on the selection split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(ge=1, description="1 is the best")
    n_candidates: int = Field(ge=1, description="ranked")
    n_correct: int = Field(ge=0)
    n: int = Field(ge=1, description="examples of the selection split")
    points: int | None = Field(default=None, description="sum of the scores in thousandths, if not 1000 per correct")

    def __str__(self) -> str:
        """``12/64 correct``; with scores between wrong and right ``12/64 correct, mean score 40.2 %``."""
        mean = "" if self.points is None else f", mean score {self.points / (10 * self.n):.1f} %"
        return f"{self.n_correct}/{self.n} correct{mean}"


class _Facts(BaseModel):
    """What is true of every folder that a run's weights are written to."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format_version: Literal[1] = 1
    base: BaseIdentity
    noise: NoiseIdentity
    dtype: str = Field(description="the weights were cast to it before the noise was added")
    n_perturbed: int = Field(ge=1, description="weights that differ from the base by noise")
    run_id: str
    fingerprint: str = Field(description="of the run")
    problem: str = Field(description="name of what was asked")
    thickets_version: str

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the facts of a folder."""
        return cls.model_validate_json((folder / FACTS).read_bytes())

    def save(self, folder: Path) -> None:
        """Write both files into the folder."""
        (folder / FACTS).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / CARD).write_text(self.card(), encoding="utf-8")

    @abstractmethod
    def title(self) -> str:
        """Return a short description of the model."""

    @abstractmethod
    def card(self) -> str:
        """The model card, with the front matter that the Hugging Face hub reads."""

    def _page(self, heading: str, text: str, own: dict[str, str], score: dict[str, str], remake: str) -> str:
        """A card: the rows that every one has, those of this kind among them, and how to use it and make it again."""
        # The hub refuses a base_model that is not one of its ids.
        on_hub = hub_commit(self.base.revision) is not None
        front = [
            "library_name: transformers",
            *([f"base_model: {self.base.name}"] if on_hub else []),
            "tags: [thickets]",
        ]
        rows = {
            "base model": f"{self.base.name}, revision {self.base.revision}",
            "SHA-256 of the base's weights": self.base.sha256,
            **own,
            "noise": f"version {self.noise.version}, {self.noise.family}{self._factors()}",
            "perturbed": f"{self.n_perturbed:,} weights (the patterns of their names are in `{FACTS}`)",
            "type of the weights": self.dtype,
            "run": f"{self.run_id} ({self.problem})",
            **score,
            "made by": f"thickets {self.thickets_version}",
        }
        table = [f"| {name} | {value} |" for name, value in rows.items()]
        use = (
            "Use it like any checkpoint: `vllm serve DIR`, or `AutoModelForCausalLM.from_pretrained(DIR)`. "
            f"Made again by `{remake}`; the same facts for machines are in `{FACTS}`."
        )
        head = ["---", *front, "---", "", f"# {heading}", ""]
        return "\n".join([*head, text, "", "| | |", "|---|---|", *table, "", use, ""])

    def _factors(self) -> str:
        return f", sigma times a factor for some tensors (`scale` in `{FACTS}`)" if self.noise.scale else ""


class ExpertFacts(_Facts):
    """Where the weights of a materialized expert come from."""

    seed: Seed
    sigma: float = Field(gt=0, description="units of the weights")
    selection: SelectionScore | None = Field(description="None for a candidate that the run did not score")

    def title(self) -> str:
        """Return seed, sigma and rank."""
        found = self.selection
        place = f"rank {found.rank} of {found.n_candidates}, {found}" if found else "not scored"
        return f"seed {self.seed}, sigma {self.sigma:g} ({place})"

    def card(self) -> str:
        """The model card, with the front matter that the Hugging Face hub reads."""
        own = {"seed": str(self.seed), "sigma": repr(self.sigma)}
        text = (
            f"A neighbour of {self.base.name}: its weights plus random noise, found by search and not by training. "
            f"Every weight `w` of the base, as {self.dtype}, became `w + sigma * z`, where `z` is a function of "
            "the seed, the parameter's name and the element's index alone."
        )
        remake = f"thickets materialize {self.run_id} DIR --seed {self.seed} --sigma {self.sigma!r}"
        return self._page(f"Expert of {self.problem}", text, own, {"selection split": self._score()}, remake)

    def _score(self) -> str:
        found = self.selection
        if found is None:
            return "not scored in this run, or dropped by racing"
        return f"{found}, rank {found.rank} of {found.n_candidates:,} (chosen on these examples: expect less on others)"


class Member(BaseModel):
    """One of the candidates of an average."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: Seed
    sigma: float = Field(gt=0, description="units of the weights")


class AverageFacts(_Facts):
    """Where the weights of a materialized average come from."""

    average_version: Literal[1] = Field(1, description="of the definition in thickets.tasks.types.Average")
    members: tuple[Member, ...] = Field(min_length=1, description="by rank, in the order they were added up")

    def title(self) -> str:
        """Return the number of experts averaged."""
        return f"average of the {len(self.members)} experts"

    def card(self) -> str:
        """The model card, with the front matter that the Hugging Face hub reads."""
        k = len(self.members)
        text = (
            f"The average of {k} neighbours of {self.base.name}: its weights plus the mean of {k} random noises, found "
            f"by search and not by training. Every weight `w` of the base, as {self.dtype}, became "
            "`w + mean(sigma * z)` over the experts below, where `z` is a function of an expert's seed, the "
            "parameter's name and the element's index alone; added up in float32 in this order, and rounded once."
        )
        members = ", ".join(f"{member.seed} ({member.sigma!r})" for member in self.members)
        remake = f"thickets materialize {self.run_id} DIR --average"
        return self._page(f"Average of {k} experts of {self.problem}", text, {"seeds (sigmas)": members}, {}, remake)


class MergeFacts(_Facts):
    """Where the weights of a materialized merge come from."""

    merge_version: Literal[1] = Field(1, description="of the definition in thickets.tasks.types.Merge")
    label: str = Field(description="what people call it")
    members: tuple[MergeMember, ...] = Field(min_length=1, description="in the order they were added up")

    def title(self) -> str:
        """Return what people call it."""
        return self.label

    def card(self) -> str:
        """The model card, with the front matter that the Hugging Face hub reads."""
        n = len(self.members)
        text = (
            f"A merge of {n} neighbours of {self.base.name}: its weights plus a weighted sum of {n} random noises, "
            f"found by search and not by training. Every weight `w` of the base, as {self.dtype}, became "
            "`w + sum(coefficient * sigma * z)` over the candidates in `thickets.json`, where `z` is a function of a "
            "candidate's seed, the parameter's name and the element's index alone; added up in float32 in that order, "
            "and rounded once."
        )
        first = ", ".join(f"{member.coefficient:.3g} x {member.seed}" for member in self.members[:5])
        shown = f"{first}{', ...' if n > 5 else ''}"
        remake = f"thickets materialize {self.run_id} DIR --merge"
        title = f"{self.label[0].upper()}{self.label[1:]}, {self.problem}"
        return self._page(title, text, {"coefficients x seeds": shown}, {}, remake)
