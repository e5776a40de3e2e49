"""Summaries of runs that never were, from plain counts: for whatever is a pure function of a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thickets.flows.results.summary import (
    AnswerCounts,
    EngineUse,
    ExpertRow,
    RunSummary,
    SelectionAnswers,
    SigmaRow,
    TrackingLinks,
)
from thickets.tasks.results.evaluation import AnswerTokens, Control, ControlName, CurvePoint, Evaluation
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.thicket import (
    Agreement,
    BestCandidate,
    DensityPoint,
    GainSplit,
    SigmaScores,
    ThicketDescription,
)
from thickets.tasks.statistics import accuracy, minus_expectation, paired_difference, rank_correlation, share

N_SELECTION, N_TEST = 64, 256


def right(n: int) -> list[bool]:
    """The first n test questions right, all others wrong."""
    return [place < n for place in range(N_TEST)]


def a_control(name: ControlName, label: str, correct: Sequence[bool], ensemble: Sequence[bool], base: Any) -> Control:
    return Control(
        name=name,
        label=label,
        accuracy=accuracy(sum(correct), N_TEST),
        n_tokens=9000,
        minus_base=paired_difference(correct, base),
        ensemble_minus=paired_difference(ensemble, correct),
    )


def at_random(expected: float, ensemble: Sequence[bool], base: Sequence[bool]) -> Control:
    return Control(
        name="chance",
        label="chance, one of the options at random",
        accuracy=Accuracy(
            n_correct=round(expected * N_TEST), n=N_TEST, value=expected, low=expected, high=expected, is_exact=True
        ),
        n_tokens=0,
        minus_base=paired_difference([expected] * N_TEST, base),
        ensemble_minus=minus_expectation(accuracy(sum(ensemble), N_TEST), expected),
    )


def a_summary(
    *,
    base_selection: int = 20,
    scores: Mapping[float, Sequence[int]] | None = None,
    base: Sequence[bool] | None = None,
    ensemble: Sequence[bool] | None = None,
    best_single: Sequence[bool] | None = None,
    self_consistency: Sequence[bool] | None = None,
    chance: float | Sequence[bool] | None = 1 / 3,
    k: int = 3,
    k_values: Sequence[int] = (1, 3, 5),
    cut_off: tuple[float, float] = (0.0, 0.1),
    abstained: tuple[float, float] = (0.0, 0.1),
) -> RunSummary:
    """Make the summary of a run, by default one with a clear gain over everything but the best single expert.

    Args:
        base_selection: Correct answers of the base on 64 selection questions.
        scores: Correct answers of the candidates on them, per sigma.
        base: Whether each of the 256 test answers of the base is right; likewise the other three.
        ensemble: Of the vote.
        best_single: Of the best single expert.
        self_consistency: Of that control.
        chance: Expected accuracy, or where a constant answer is right; None without the control.
        k: Experts that vote.
        k_values: What was tried on the validation split.
        cut_off: Shares of the base's and of the candidates' selection answers.
        abstained: Likewise.
    """
    scores = {0.003: (18, 24, 30), 0.008: (10, 21, 33)} if scores is None else scores
    base = right(80) if base is None else base
    ensemble = right(130) if ensemble is None else ensemble
    best_single = right(128) if best_single is None else best_single
    controls = []
    if chance is not None:
        controls.append(
            at_random(chance, ensemble, base)
            if isinstance(chance, float)
            else a_control("chance", "chance, always the most frequent answer", chance, ensemble, base)
        )
    sampled = right(70) if self_consistency is None else self_consistency
    controls.append(a_control("self_consistency", "self-consistency, 3 samples at t = 0.7", sampled, ensemble, base))
    curve = [CurvePoint(k=each, rule="majority", accuracy=accuracy(30, N_SELECTION)) for each in k_values]
    everybody = [score for each in scores.values() for score in each]
    best = max(everybody)
    score = accuracy(best, N_SELECTION)
    gap = paired_difference(ensemble, base)
    counts = [
        AnswerCounts(n=n, n_cut_off=round(cut_off[place] * n), n_abstained=round(abstained[place] * n))
        for place, n in enumerate((N_SELECTION, N_SELECTION * len(everybody)))
    ]
    return RunSummary(
        run_id="made-up",
        fingerprint="0" * 64,
        folder=Path("/home/runs/made-up"),
        model="tiny",
        model_sha256="0" * 64,
        problem="largest_number",
        n_candidates=len(everybody),
        split_sizes={"selection": N_SELECTION, "validation": N_SELECTION, "test": N_TEST},
        base_selection=accuracy(base_selection, N_SELECTION),
        sigmas=tuple(
            SigmaRow(
                sigma=sigma,
                n_candidates=len(each),
                mean_accuracy=sum(each) / len(each) / N_SELECTION,
                max_accuracy=max(each) / N_SELECTION,
                n_at_least_base=sum(value >= base_selection for value in each),
            )
            for sigma, each in scores.items()
        ),
        validation_curve=tuple(curve),
        evaluation=Evaluation(
            k=k,
            rule="majority",
            base=accuracy(sum(base), N_TEST),
            best_single=accuracy(sum(best_single), N_TEST),
            ensemble=accuracy(sum(ensemble), N_TEST),
            ensemble_minus_base=gap,
            best_single_minus_base=paired_difference(best_single, base),
            ensemble_minus_best_single=paired_difference(ensemble, best_single),
            test_curve=tuple(curve),
            n_tokens=AnswerTokens(base=3000, best_single=3000, ensemble=3000 * k),
            controls=tuple(controls),
        ),
        experts=(ExpertRow(rank=1, seed="1", sigma=0.003, n_correct=best, n=N_SELECTION, weight=best),),
        n_tokens={"selection": 40_000, "test": 44_000},
        wall_s=332.0,
        engine=EngineUse(),
        tracking=TrackingLinks(
            mlflow_uri="", mlflow_run_id="", mlflow_address="", prefect_flow_run_id=None, prefect_address=None
        ),
        thicket=ThicketDescription(
            sigmas=tuple(
                SigmaScores(
                    sigma=sigma,
                    n_candidates=len(each),
                    n_examples=N_SELECTION,
                    base_n_correct=base_selection,
                    quantiles=(min(each), min(each), sorted(each)[len(each) // 2], max(each), max(each)),
                    histogram={value: list(each).count(value) for value in each},
                    density=tuple(
                        DensityPoint(margin_points=margin, share=share(1, len(each))) for margin in (0, 2, 5, 10)
                    ),
                )
                for sigma, each in scores.items()
            ),
            correlation=rank_correlation([1, 2], [1, 2], len(everybody)),
            best=BestCandidate(
                sigma=0.003,
                n_candidates=len(everybody),
                observed=score,
                by_luck=score.value,
                p_value=0.5,
                corrected=score.value,
                corrected_low=score.low,
                corrected_high=score.high,
            ),
            agreement=Agreement(n=N_TEST, n_same=((N_TEST,),), mean=0.7),
            oracle=accuracy(sum(ensemble), N_TEST),
            gains=GainSplit(
                retained=sum(base) - gap.n_worse,
                format_fixed=0,
                reasoning_fixed=gap.n_better,
                unclear_fixed=0,
                regressed=gap.n_worse,
                still_wrong=N_TEST - sum(ensemble) - gap.n_worse,
            ),
            changed={},
        ),
        version="0",
        answers=SelectionAnswers(max_tokens=24, base=counts[0], candidates=counts[1]),
    )
