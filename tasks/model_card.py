"""What a materialized expert is: README.md for people, thickets.json for machines, the same facts in both."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from storage.manifest import BaseIdentity, NoiseIdentity, Seed
from storage.models import hub_commit

CARD = "README.md"
FACTS = "thickets.json"


class SelectionScore(BaseModel):
    """How a candidate did where candidates are ranked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(ge=1, description="1 is the best")
    n_candidates: int = Field(ge=1, description="ranked")
    n_correct: int = Field(ge=0)
    n: int = Field(ge=1, description="examples of the selection split")


class ExpertFacts(BaseModel):
    """Where the weights of a materialized expert come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format_version: Literal[1] = 1
    base: BaseIdentity
    noise: NoiseIdentity
    seed: Seed
    sigma: float = Field(gt=0, description="units of the weights")
    dtype: str = Field(description="the weights were cast to it before the noise was added")
    n_perturbed: int = Field(ge=1, description="weights that differ from the base by noise")
    run_id: str
    fingerprint: str = Field(description="of the run")
    problem: str = Field(description="name of what was asked")
    selection: SelectionScore | None = Field(description="None for a candidate that the run did not score")
    thickets_version: str

    @classmethod
    def load(cls, folder: Path) -> ExpertFacts:
        """Read the facts of a materialized expert."""
        return cls.model_validate_json((folder / FACTS).read_bytes())

    def save(self, folder: Path) -> None:
        """Write both files into the expert's folder."""
        (folder / FACTS).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / CARD).write_text(self.card(), encoding="utf-8")

    def card(self) -> str:
        """The model card, with the front matter that the Hugging Face hub reads."""
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
            "seed": str(self.seed),
            "sigma": repr(self.sigma),
            "noise": f"version {self.noise.version}, {self.noise.family}",
            "perturbed": f"{self.n_perturbed:,} weights (the patterns of their names are in `{FACTS}`)",
            "type of the weights": self.dtype,
            "run": f"{self.run_id} ({self.problem})",
            "selection split": self._score(),
            "made by": f"thickets {self.thickets_version}",
        }
        table = [f"| {name} | {value} |" for name, value in rows.items()]
        text = (
            f"A neighbour of {self.base.name}: its weights plus random noise, found by search and not by training. "
            f"Every weight `w` of the base, as {self.dtype}, became `w + sigma * z`, where `z` is a function of "
            "the seed, the parameter's name and the element's index alone."
        )
        remake = f"thickets materialize {self.run_id} DIR --seed {self.seed} --sigma {self.sigma!r}"
        use = (
            "Use it like any checkpoint: `vllm serve DIR`, or `AutoModelForCausalLM.from_pretrained(DIR)`. "
            f"Made again by `{remake}`; the same facts for machines are in `{FACTS}`."
        )
        head = ["---", *front, "---", "", f"# Expert of {self.problem}", ""]
        return "\n".join([*head, text, "", "| | |", "|---|---|", *table, "", use, ""])

    def _score(self) -> str:
        found = self.selection
        if found is None:
            return "not scored in this run"
        return (
            f"{found.n_correct}/{found.n} correct, rank {found.rank} of {found.n_candidates:,} "
            "(chosen on these examples: expect less on others)"
        )
