"""What a run still has to do: its stages, and the answers that each may need, for the time left until the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from thickets.flows.plan import RunPlan, count_merges, count_respondents
from thickets.tasks.adaptive.racing import n_needed

# Reports, figures, tracking: about 15 s after the last answer on two busy cores.
WRAP_UP_S = 20.0
# Share of the candidates that racing leaves after a round, where the configuration does not bound it.
_RACED = 0.7
# Training reads a text forwards and backwards, which costs about as much as three answers to its question.
_ANSWERS_PER_TEXT = 3
_SEARCH_LABELS = ("pilot", "base")  # what selection is called in progress while it is not asked for as a whole


@dataclass(frozen=True, slots=True)
class Forecast:
    """The stages of a run that generate, in their order.

    Attributes:
        answers: Answers that each may need, by stage; about.
    """

    answers: Mapping[str, float]

    @property
    def n_stages(self) -> int:
        """Number of stages; the report is the last."""
        return len(self.answers) + 1

    def place(self, label: str) -> int | None:
        """Return the number of the stage that a round of scoring belongs to, from 1; None for a round before it all."""
        stage = _stage(label)
        return list(self.answers).index(stage) + 1 if stage in self.answers else None

    def after(self, label: str) -> float:
        """Return the answers that the stages after a round of scoring may need."""
        return sum(list(self.answers.values())[self.place(label) or 0 :])

    def without(self, done: Mapping[str, int]) -> Forecast:
        """Take off what an earlier session has answered, by split; stages of one split come in their order."""
        left, answers = dict(done), dict(self.answers)
        for stage, expected in self.answers.items():
            split = _SPLITS.get(stage, stage)
            reused = min(int(expected), left.get(split, 0))
            answers[stage] = expected - reused
            left[split] = left.get(split, 0) - reused
        return Forecast(answers)


_SPLITS = MappingProxyType(
    {"merges": "validation", "coordinates": "selection", "prompts": "validation", "controls": "test"}
)


def forecast(plan: RunPlan) -> Forecast | None:
    """Forecast a run; None where a budget decides how many candidates there will be."""
    config, wordings = plan.config, plan.wordings
    if config.scoring.budget is not None:
        return None
    sizes = {split.name: len(split.examples) for split in plan.splits}
    most_experts, respondents = config.selection.k_values[-1], count_respondents(plan)
    n_prompts, merges = len(wordings.others) if wordings else 0, count_merges(config)
    n_tested = 1 + most_experts + (config.selection.methods != ("top_k",))
    answers = {
        "selection": _selection(plan),
        "validation": (respondents["validation"] - n_prompts - merges.validation) * sizes["validation"],
        "merges": merges.planned * sizes["validation"],
        "coordinates": merges.selection * sizes["selection"] + merges.tuned * sizes["validation"],
        "test": n_tested * sizes["test"],
        "prompts": n_prompts * sizes["validation"],
        "controls": (respondents["test"] - n_tested) * sizes["test"],
    }
    if (section := config.distillation) is not None:
        answers["distillation"] = (most_experts + section.attempts) * section.examples
        n_texts = section.max_steps * section.batch_size if section.max_steps else section.epochs * section.examples
        answers["training"] = _ANSWERS_PER_TEXT * n_texts
    return Forecast({stage: float(count) for stage, count in answers.items() if count})


def expected_alive(plan: RunPlan) -> list[float]:
    """Return how many candidates may answer each block of the selection split: all, or with racing a guess."""
    config, alive = plan.config, float(plan.config.population.size)
    racing = config.scoring.racing
    least = n_needed(config.selection.methods, config.selection.k_values[-1])
    found = []
    for _ in plan.block_sizes("selection"):
        found.append(alive)
        if racing is not None:
            alive = max(alive * (racing.keep or _RACED), min(alive, least))
    return found


def _selection(plan: RunPlan) -> float:
    """Count the answers to the selection split, the base's among them."""
    sizes = plan.block_sizes("selection")
    return sum((alive + 1) * size for alive, size in zip(expected_alive(plan), sizes, strict=True))


def _stage(label: str) -> str:
    first = label.split(" ", maxsplit=1)[0]
    return "selection" if first in _SEARCH_LABELS else first
