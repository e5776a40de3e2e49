"""Other wordings of a prompt: a control for the gain that a better prompt alone gives the base.

A few wordings are made from the template that a run uses, the base answers the validation split under each, and the
best one is the control that the ensemble has to beat on the test split.
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
    """The wordings to try.

    Attributes:
        own: The run's own template.
        others: The problem under each other template, by template, in the order of trial; not empty.
    """

    own: str
    others: Mapping[str, Problem]

    @property
    def count(self) -> int:
        """Number of wordings, the run's own included."""
        return 1 + len(self.others)

    @property
    def trials(self) -> tuple[Reworded, ...]:
        """Respondents under the other wordings; the base answers under the run's own."""
        return tuple(map(Reworded, self.others))


def built_in(own: str) -> tuple[str, ...]:
    """Return wordings that fit any question: text moved, step by step, question twice, addressed to an expert.

    Args:
        own: A prompt template with ``{question}`` in it.

    Returns:
        Distinct templates other than `own`. One of them holds ``{question}`` twice.
    """
    made = [_moved(own)]
    if _STEPS.rstrip(".").lower() not in own.lower():
        made.append(f"{own}\n\n{_STEPS}")
    # The repetition comes right after the question, so that the text that follows the question still follows it.
    made.append(own.replace(_QUESTION, f"{_QUESTION}\n\n{_AGAIN} {_QUESTION}"))
    made.append(f"{_EXPERT}\n\n{own}")
    return tuple(text for text in dict.fromkeys(made) if text != own)


def plan_wordings(problem: Problem, config: ProblemConfig, prompts: Sequence[str]) -> Wordings | None:
    """Return the wordings to try for a problem.

    Args:
        problem: The problem under the run's own template.
        config: The configuration of the problem.
        prompts: The user's templates; empty: the built-in ones.

    Returns:
        None, with a line in the log, for a problem without an instruction or without another wording.
    """
    if not isinstance(problem, HasInstruction):
        log.info(f"{config.name} has no instruction to replace: controls.best_prompt has nothing to try")
        return None
    own = problem.instruction
    others = [text for text in (prompts or built_in(own)) if text != own]
    if not others:
        log.info("controls.prompts holds the run's own wording alone: controls.best_prompt has nothing to try")
        return None
    # Not validated again: the user's templates were with the configuration, and a built-in one holds {question} twice.
    return Wordings(own, {text: load_problem(config.model_copy(update={"instruction": text})) for text in others})


def leave_out_too_long(
    wordings: Wordings, examples: Iterable[Example], template: Template, limit: int
) -> Wordings | None:
    """Drop the wordings whose prompts are too long for the model: a control must not end a run.

    Args:
        wordings: The wordings to try.
        examples: The examples to render.
        template: Renders prompts and counts their tokens.
        limit: Largest number of tokens of a prompt.

    Returns:
        The wordings that fit, or None if no other one does; with a warning in the log for each that is dropped.
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
    """Return the wording with which the base scores highest on the validation split; ties go to the earlier one.

    Returns:
        None for the run's own, which comes first.
    """
    respondents: list[Reworded | None] = [None, *trials]
    ids = [candidate_id(each) for each in respondents]
    answers = scores.answers("validation", ids).group_by("candidate_id")
    summed = answers.agg(pl.col("correct").sum(), pl.col("score").cast(pl.Int64).sum())
    counts = {name: (correct, points) for name, correct, points in summed.iter_rows()}
    right = [counts[name][0] for name in ids]
    log.info(f"correct on the validation split by wording, the own one first: {right}")
    return max(respondents, key=lambda each: counts[candidate_id(each)][1])  # the first of equals


@task("choose-prompt", retries=2, retry_delays_s=[2])
def choose_prompt_on_validation(book: ScoreBook, trials: Sequence[Reworded]) -> Reworded | None:
    """Run `choose` as a Prefect task."""
    with book.open() as store:
        return choose(store, trials)


def best_prompt(wordings: Wordings, chosen: Reworded | None) -> Panel:
    """Return the base under the chosen wording."""
    return Panel("best_prompt", _label(wordings, chosen), (chosen,), _text(wordings, chosen))


def best_prompt_self_consistency(
    wordings: Wordings, chosen: Reworded | None, k: int, temperature: float, seed: int
) -> Panel:
    """Return the base under the chosen wording, sampled `k` times."""
    members = attempts(k, temperature, seed, chosen.instruction if chosen else None)
    label = f"{_label(wordings, chosen)}, {k} samples at t = {temperature:g}"
    return Panel("best_prompt_self_consistency", label, members, _text(wordings, chosen))


def _label(wordings: Wordings, chosen: Reworded | None) -> str:
    return f"best of {wordings.count} prompts" + ("" if chosen else " (the run's own)")


def _text(wordings: Wordings, chosen: Reworded | None) -> str:
    return chosen.instruction if chosen else wordings.own


def _moved(own: str) -> str:
    """Move the text after the question before it, or if there is none, the text before it after it."""
    before, _, after = own.partition(_QUESTION)
    if (text := after.strip()) and any(map(str.isalpha, text)):
        gap = after[: len(after) - len(after.lstrip())] or "\n\n"
        return f"{text}{gap}{before}{_QUESTION}"
    if text := before.strip():
        gap = before[len(before.rstrip()) :] or "\n\n"
        return f"{_QUESTION}{after}{gap}{text}"
    return own
