"""Plans a run's prompts: the template, and the splits with every prompt rendered, measured and compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from thickets.flows.config.run import RunConfig
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.engines.prompts import Template
from thickets.tasks.problems import Problem
from thickets.tasks.problems.base import chooses
from thickets.tasks.problems.splits import Split
from thickets.tasks.scoring.room import Fitted, Room, dropped_line, fit
from thickets.tasks.types import text_of
from thickets.tasks.verifiers.thought import Thoughts, ends_in_thought

_LABELS_IN_THOUGHT = (
    "problem.scoring: loglikelihood compares labels right behind the prompt, where this chat template has begun a "
    "thought; turn thinking off where it can: decoding.chat_template_kwargs: {enable_thinking: false}"
)


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """The prompts of some splits.

    Attributes:
        template: Renders them.
        room: What a prompt and its answer have to fit into.
        splits: The splits, less the rows that were dropped, with their prompts.
        reasoning: What begins and ends a thought in a reply; None: replies hold none.
        warnings: What is odd about the prompts, a line each.
    """

    template: Template
    room: Room
    splits: tuple[Fitted, ...]
    reasoning: Thoughts | None
    warnings: tuple[str, ...]

    @property
    def dropped(self) -> dict[str, int]:
        """Rows that were too long and left out, by split; empty if there were none."""
        return {each.split.name: each.n_dropped for each in self.splits if each.n_dropped}


def plan_prompts(config: RunConfig, model: Path, problem: Problem, splits: Iterable[Split]) -> PromptPlan:
    """Render and measure the prompts of some splits.

    Args:
        config: The run.
        model: Folder of the base model.
        problem: The run's problem.
        splits: The splits.

    Raises:
        InputError: A prompt cannot be rendered, is too long for the model (`data.too_long`), or has other tokens than
            the model's library would give it.
    """
    kind, trusted = kind_of(model), config.engine.trust_remote_code
    template = kind.prompt_template(model, config.decoding.chat_template_kwargs, trust_remote_code=trusted)
    configured = config.decoding.max_tokens
    # A limit that is learned is at most the problem's own.
    max_tokens = configured if isinstance(configured, int) else problem.sampling.max_tokens
    room = Room(kind.context_length(model, trust_remote_code=trusted), max_tokens)
    fitted = tuple(fit(splits, problem, template, room, drop=config.data.too_long == "drop"))
    first = next(each for each in fitted if each.prompts)
    template.check(problem.messages(first.split.examples[0]))
    tags = config.decoding.reasoning
    reasoning = None if tags is None else Thoughts(*tags, ends_in_thought(text_of(first.prompts[0]), tags))
    thinks = _LABELS_IN_THOUGHT if chooses(problem) and reasoning is not None and reasoning.is_open else None
    warnings = (*template.warnings, dropped_line(fitted, room), _hidden_tags(reasoning, template), thinks)
    return PromptPlan(template, room, fitted, reasoning, tuple(filter(None, warnings)))


def _hidden_tags(reasoning: Thoughts | None, template: Template) -> str | None:
    """Say which tags of a thought will not be seen; None if all will."""
    hidden = [tag for tag in (reasoning.begin, reasoning.end) if template.hides(tag)] if reasoning else []
    if not hidden:
        return None
    return (
        f"decoding.reasoning: {' and '.join(hidden)} is a special token of this model, and replies are read without "
        "special tokens: its thoughts cannot be told from its answers"
    )
