"""The result of a distillation as rows of a table and as sentences."""

from __future__ import annotations

from dataclasses import dataclass

from thickets.flows.results.cost import in_words
from thickets.flows.results.distillation import DistillSummary
from thickets.flows.results.made import verdict_sentences
from thickets.flows.results.rows import result_rows, times_base, to_get, to_use
from thickets.tasks.distillation.results import Arm
from thickets.tasks.results.intervals import Accuracy, Difference
from thickets.tasks.results.text import duration, percent

# Perplexity relative to the base above which a model has lost some of what the base could do; chosen, not derived.
_BROKEN = 1.5


@dataclass(frozen=True, slots=True)
class DistillRow:
    """One row of the table: a row of the run's result or a trained model.

    Attributes:
        label: Name of the respondent, control, vote or trained model.
        accuracy: Its accuracy on the test split.
        over_base: Accuracy minus that of the base; None for the base itself.
        n_tokens: Tokens generated for it on the test split.
        perplexity: Perplexity on generic text; None if it was not measured.
        arm: The trained model; None for the rows of the run's result.
        to_get: What it took to get, in words; empty where that was not counted.
        to_use: Likewise what it takes to use.
    """

    label: str
    accuracy: Accuracy
    over_base: Difference | None
    n_tokens: int
    perplexity: float | None = None
    arm: Arm | None = None
    to_get: str = ""
    to_use: str = ""

    @property
    def is_student(self) -> bool:
        """Whether the row is the student."""
        return self.arm is not None and self.arm.name == "student"


def distill_rows(found: DistillSummary) -> list[DistillRow]:
    """Return the rows of the run's result, then the trained models, the student last."""
    of_run = [
        DistillRow(
            row.label,
            row.accuracy,
            row.over_base,
            row.n_tokens,
            perplexity=found.base_perplexity if row.label == "base" else None,
            to_get=row.to_get,
            to_use=row.to_use,
        )
        for row in result_rows(found.evaluation, found.cost)
    ]
    trained = [
        DistillRow(
            "student" if arm.name == "student" else f"trained on {arm.label}",
            arm.test,
            arm.minus_base,
            arm.n_tokens,
            arm.perplexity,
            arm,
            *_cost(arm, found),
        )
        for arm in reversed(found.arms)
    ]
    return [*of_run, *trained]


def distill_findings(found: DistillSummary) -> list[str]:
    """Return one sentence per comparison, the one that matters most first; if nothing was trained, the reason."""
    student = found.student
    if student is None or found.base_perplexity is None:
        return [f"Nothing was trained: {found.reason}", f"Training data: {found.data.account}."]
    minus = {
        "the base": student.minus_base,
        "the ensemble": student.minus_ensemble,
        "the best single expert": student.minus_best_single,
        "the weight average of the experts": student.minus_weight_average,
    }
    lines = verdict_sentences("the student", minus)
    if (kept := found.gain_kept) is not None:
        share = student.n_tokens / max(found.evaluation.n_tokens.ensemble, 1)
        lines.append(
            f"It keeps {percent(kept, 0)} of the ensemble's gain over the base, for {share:.2f} times the ensemble's "
            "tokens per answer."
        )
    labels = {arm.name: arm.label for arm in found.arms}
    controls = {f"the model trained on {labels[each.other]}": each.difference for each in found.student_minus}
    lines += verdict_sentences("the student", controls)
    why = {
        "rejection_sampling": "No sample of the base is right and whole, so there is no model trained on them.",
        "labels": "No gold answer is one that the verifier takes as a reply, so there is no model trained on them.",
    }
    lines += [why[name] for name in found.untrained]
    before = found.base_validation
    lines += [
        f"{_name(arm)} is no better than the base on the validation split: {percent(arm.validation)} against "
        f"{percent(before)}."
        for arm in found.arms
        if arm.validation.total <= before.total
    ]
    lines.append(_perplexities(found.arms, found.base_perplexity))
    lines.append(f"Kept is the step that is best on the validation split: {'; '.join(map(_kept, found.arms))}.")
    lines.append(
        f"Cost, once: {found.answer_tokens:,} tokens generated for the training data, and for the student "
        f"{student.training.n_tokens:,} read in {duration(student.training.train_s)} of training."
    )
    if found.cost and (cost := found.cost.of(student.name)):
        lines.append(f"With the search before it, the student took {in_words(cost.get)} to get.")
    lines.append(f"Training data: {found.data.account}.")
    return lines


def _cost(arm: Arm, found: DistillSummary) -> tuple[str, str]:
    """Return what an arm took to get and takes to use, in words."""
    own = None if found.cost is None else found.cost.of(arm.name)
    return to_get(own), to_use(None if own is None else times_base(own, found.cost))


def _perplexities(arms: tuple[Arm, ...], base: float) -> str:
    each = ", ".join(f"{arm.name.replace('_', ' ')} {arm.perplexity:.1f}" for arm in arms)
    broken = [_name(arm) for arm in arms if arm.perplexity > _BROKEN * base]
    has = "has" if len(broken) == 1 else "have"
    what = f"; {' and '.join(broken)} {has} lost some of what the base could do" if broken else ""
    return f"Perplexity of generic text: base {base:.1f}, {each}{what}."


def _kept(arm: Arm) -> str:
    training = arm.training
    name = arm.name.replace("_", " ")
    return f"{name} {training.best_step} of {training.n_steps}, {training.n_rows} rows, {percent(arm.validation)} there"


def _name(arm: Arm) -> str:
    return "The student" if arm.name == "student" else f"The model trained on {arm.label}"
