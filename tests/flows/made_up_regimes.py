"""Several models around one problem that never were, from plain counts: for whatever is a pure function of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.flows.summaries import N_SELECTION, right
from thickets.tasks.evaluation.thicket import density
from thickets.tasks.results.cost import Cost, RowCost, RunCost
from thickets.tasks.results.regimes import MARGIN_POINTS, Regime, Regimes
from thickets.tasks.results.thicket import BestCandidate, SigmaScores
from thickets.tasks.statistics import accuracy, paired_difference

SIGMAS = (0.002, 0.004, 0.008)
N_TEST = len(right(0))


def a_regime(
    name: str,
    n_parameters: int,
    *,
    base: int = 80,
    vote: int = 130,
    best: int = 120,
    spread: float = 4.0,
    n: int = 100,
    is_floor: bool = False,
    tokenizer: str = "t",
    prompt_form: str = "p",
) -> Regime:
    """Make what surrounds one model.

    Args:
        name: The model's name.
        n_parameters: Its size.
        base: Of 256 test questions, how many the base has right; likewise the next two.
        vote: The ensemble.
        best: The best single expert.
        spread: Standard deviation of the candidates' scores on 64 selection questions, around the base's.
        n: Candidates of each sigma.
        is_floor: Whether it has random weights.
        tokenizer: Names its tokenizer.
        prompt_form: Names the form of its prompts.
    """
    center = round(base / N_TEST * N_SELECTION)
    rng = np.random.default_rng(n_parameters)
    tables = [
        np.clip(rng.normal(center, spread * (i + 1) / 2, n).round(), 0, N_SELECTION).astype(int) for i in range(3)
    ]
    highest = max(range(3), key=lambda place: int(tables[place].max()))
    top = accuracy(int(tables[highest].max()), N_SELECTION)
    return Regime(
        run_id=f"made-up-{name.lower().replace(' ', '-')}",
        name=name,
        model=f"owner/{name}",
        model_sha256=f"{n_parameters:064x}",
        is_floor=is_floor,
        n_parameters=n_parameters,
        prompt_form=prompt_form,
        tokenizer=tokenizer,
        base_selection=accuracy(center, N_SELECTION),
        sigmas=tuple(_scores(sigma, center, table.tolist()) for sigma, table in zip(SIGMAS, tables, strict=True)),
        best=BestCandidate(
            sigma=SIGMAS[highest],
            n_candidates=3 * n,
            observed=top,
            by_luck=top.value - 0.05,
            p_value=0.01,
            corrected=top.value - 0.03,
            corrected_low=top.low,
            corrected_high=top.high,
        ),
        k=5,
        base=accuracy(base, N_TEST),
        best_single=accuracy(best, N_TEST),
        vote=accuracy(vote, N_TEST),
        vote_minus_base=paired_difference(right(vote), right(base)),
        n_tokens=1000,
        cost=_cost(n_parameters),
    )


def _cost(n_parameters: int) -> RunCost:
    """Experts that took 1.2 M tokens to get, and a vote of five."""
    search = Cost(n_generated=200_000, n_read=1_000_000)
    one, five = (Cost(n_generated=10 * k * N_TEST, n_read=50 * k * N_TEST) for k in (1, 5))
    rows = (
        RowCost(name="base", get=Cost(), use=one, n=N_TEST),
        RowCost(name="ensemble", get=search, use=five, n=N_TEST),
    )
    return RunCost(n_parameters=n_parameters, n_active=n_parameters, search=search, rows=rows)


def _scores(sigma: float, base: int, scores: list[int]) -> SigmaScores:
    quantiles = [int(np.quantile(scores, q, method="nearest")) for q in (0, 0.25, 0.5, 0.75, 1)]
    return SigmaScores(
        sigma=sigma,
        n_candidates=len(scores),
        n_examples=N_SELECTION,
        base_n_correct=base,
        quantiles=(quantiles[0], quantiles[1], quantiles[2], quantiles[3], quantiles[4]),
        histogram={value: scores.count(value) for value in sorted(set(scores))},
        density=density(scores, base, N_SELECTION),
    )


def made_up_regimes(models: Sequence[Regime] | None = None) -> Regimes:
    """Make a group; by default a floor and five models, the larger the denser."""
    if models is None:
        models = [
            a_regime("random weights", 134_515_008, base=2, best=6, vote=5, spread=1, is_floor=True),
            a_regime("SmolLM2-135M-Instruct", 134_515_008, base=40, best=60, vote=70, spread=2),
            a_regime("Qwen2.5-0.5B-Instruct", 494_032_768, base=80, best=100, vote=110, spread=3, tokenizer="q"),
            a_regime("Qwen2.5-1.5B-Instruct", 1_543_714_304, base=120, best=140, vote=160, spread=5, tokenizer="q"),
            a_regime("Qwen2.5-3B-Instruct", 3_085_938_688, base=160, best=180, vote=200, spread=8, tokenizer="q"),
            a_regime("Qwen2.5-7B-Instruct", 7_615_616_512, base=200, best=215, vote=225, spread=9, tokenizer="q"),
        ]
    return Regimes(
        group_id="made-up-regimes", problem="largest_number", margin_points=MARGIN_POINTS, models=tuple(models)
    )
