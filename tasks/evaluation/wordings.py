"""Other wordings of a prompt: how far does the base get if it is only asked better?

A handful of wordings is made from the template that a run uses, the base answers the validation split under each, and
the best one is the control that the ensemble has to beat on the test split.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.engines.prompts import Template
from thickets.tasks.evaluation.controls import Panel, attempts
from thickets.tasks.problems import Problem, ProblemConfig, load_problem
from thickets.tasks.problems.base import HasInstruction
from thickets.tasks.scoring.units import candidate_id
from thickets.tasks.task import task
from thickets.tasks.types import Example, Reworded

log = logging.getLogger("thickets")

_QUESTION = "{question}"
_EXPERT = "You are an expert at questions like this one, and your answers are always correct."
_STEPS = "Think step by step."
_AGAIN = "Read the question again:"


@dataclass(frozen=True, slots=True)
class Wordings:
    """The wordings that are tried.

    Attributes:
        own: The run's own.
        others: The problem in other words, by its instruction, in the order of trial; not empty.
    """

    own: str
    others: Mapping[str, Problem]

    @property
    def count(self) -> int:
        """How many there are, the own one included."""
        return 1 + len(self.others)

    @property
    def trials(self) -> tuple[Reworded, ...]:
        """Who answers under them; the own one is the base's."""
        return tuple(map(Reworded, self.others))


def built_in(own: str) -> tuple[str, ...]:
    """Wordings that make sense for any question: moved, step by step, read twice, addressed to an expert.

    Args:
        own: A prompt template with ``{question}`` in it.

    Returns:
        Distinct templates other than `own`. The one that is read twice holds ``{question}`` twice.
    """
    made = [_moved(own)]
    if _STEPS.rstrip(".").lower() not in own.lower():
        made.append(f"{own}\n\n{_STEPS}")
    # Once more right after itself, so that what the question is followed by still follows it.
    made.append(own.replace(_QUESTION, f"{_QUESTION}\n\n{_AGAIN} {_QUESTION}"))
    made.append(f"{_EXPERT}\n\n{own}")
    return tuple(text for text in dict.fromkeys(made) if text != own)


def plan_wordings(problem: Problem, config: ProblemConfig, prompts: Sequence[str]) -> Wordings | None:
    """The wordings to try for a problem.

    Args:
        problem: As the run asks it.
        config: What it was made from.
        prompts: The user's templates; none: the built-in ones.

    Returns:
        None, with a line in the log, for a problem that cannot be worded in another way.
    """
    if not isinstance(problem, HasInstruction):
        log.info(f"{config.name} has no instruction to replace: controls.best_prompt has nothing to try")
        return None
    own = problem.instruction
    others = [text for text in (prompts or built_in(own)) if text != own]
    if not others:
        log.info("controls.prompts holds the run's own wording alone: controls.best_prompt has nothing to try")
        return None
    # Not validated again: the user's were when the configuration was read, and one of ours asks the question twice.
    return Wordings(own, {text: load_problem(config.model_copy(update={"instruction": text})) for text in others})


def leave_out_too_long(
    wordings: Wordings, examples: Iterable[Example], template: Template, limit: int
) -> Wordings | None:
    """Drop the wordings that the model has no room for: a control must not end a run that is fine without it.

    Args:
        wordings: What is to be tried.
        examples: What is asked.
        template: How a model is asked.
        limit: Most tokens of a prompt.

    Returns:
        What is left, or None; a line in the log for each that is dropped.
    """
    examples = list(examples)
    kept = {}
    for text, problem in wordings.others.items():
        longest = template.longest([template.render(problem.messages(example)) for example in examples])
        if longest <= limit:
            kept[text] = problem
        else:
            log.warning(f"a prompt worded {text!r} has {longest} tokens, {limit} fit: controls.best_prompt skips it")
    return replace(wordings, others=kept) if kept else None


def choose(scores: ScoreQueries, trials: Sequence[Reworded]) -> Reworded | None:
    """The wording under which the base has most of the validation split right; among equals the earlier one.

    Returns:
        None for the run's own, which comes first.
    """
    asked: list[Reworded | None] = [None, *trials]
    ids = [candidate_id(who) for who in asked]
    counted = scores.answers("validation", ids).group_by("candidate_id").agg(pl.col("correct").sum())
    counts: dict[str, int] = dict(counted.iter_rows())
    log.info(f"correct on the validation split by wording, the own one first: {[counts[name] for name in ids]}")
    return max(asked, key=lambda who: counts[candidate_id(who)])  # the first of equals


@task("choose-prompt", retries=2, retry_delays_s=[2])
def choose_prompt_on_validation(book: ScoreBook, trials: Sequence[Reworded]) -> Reworded | None:
    """Prefect task over `choose`."""
    with book.open() as store:
        return choose(store, trials)


def best_prompt(wordings: Wordings, chosen: Reworded | None) -> Panel:
    """The base, asked in the chosen wording."""
    return Panel("best_prompt", _label(wordings, chosen), (chosen,), _text(wordings, chosen))


def best_prompt_self_consistency(
    wordings: Wordings, chosen: Reworded | None, k: int, temperature: float, seed: int
) -> Panel:
    """The base, asked in the chosen wording and sampled `k` times."""
    members = attempts(k, temperature, seed, chosen.instruction if chosen else None)
    label = f"{_label(wordings, chosen)}, {k} samples at t = {temperature:g}"
    return Panel("best_prompt_self_consistency", label, members, _text(wordings, chosen))


def _label(wordings: Wordings, chosen: Reworded | None) -> str:
    return f"best of {wordings.count} prompts" + ("" if chosen else " (the run's own)")


def _text(wordings: Wordings, chosen: Reworded | None) -> str:
    return chosen.instruction if chosen else wordings.own


def _moved(own: str) -> str:
    """What stands after the question before it, or else the other way round."""
    before, _, after = own.partition(_QUESTION)
    if (text := after.strip()) and any(map(str.isalpha, text)):
        gap = after[: len(after) - len(after.lstrip())] or "\n\n"
        return f"{text}{gap}{before}{_QUESTION}"
    if text := before.strip():
        gap = before[len(before.rstrip()) :] or "\n\n"
        return f"{_QUESTION}{after}{gap}{text}"
    return own
