"""Starts what computes: a search, its estimate, a look at its first replies, a distillation, a rival."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thickets.flows.api.homes import find, use_services

if TYPE_CHECKING:
    from thickets.flows.check.replies import Check
    from thickets.flows.check.verdict import CheckedReply
    from thickets.flows.config.run import RunConfig
    from thickets.flows.results.comparison import Comparison
    from thickets.flows.results.distillation import DistillSummary
    from thickets.flows.results.rivals import RivalSummary
    from thickets.flows.results.rounds import Rounds
    from thickets.flows.results.summary import RunSummary
    from thickets.flows.search.estimate import Estimate, EstimateOfMany
    from thickets.flows.search.estimate_rounds import EstimateOfRounds
    from thickets.tasks.results.regimes import Regimes
    from thickets.tasks.results.rival_method import RivalMethod


def search(config: RunConfig, *, fresh: bool = False) -> RunSummary | Comparison | Rounds:
    """Search the neighbourhood of a model for experts of a task, as a Prefect flow (paper, section 3).

    Uses the services of ``thickets up`` in the run's home if they are up, else the Prefect server that
    ``PREFECT_API_URL`` names, else a temporary one. The same configuration again goes on where it stopped.

    Args:
        config: The run; with `problems`, a run per problem; with `rounds`, a run per round.
        fresh: Move what an earlier run with the same identity left aside, and start over; an error if other runs
            of the home have the same answers, which they would lose.

    Returns:
        The run's summary; for several problems, the comparison of their runs; for rounds, what came of each.

    Raises:
        InputError: Something in the configuration cannot be used.
        RunError: The run is in progress elsewhere, or could not be completed.

    Example:
        >>> from thickets import RunConfig, search
        >>> data = {"selection": 12, "validation": 10, "test": 14}
        >>> population = {"size": 6, "sigmas": [0.1]}
        >>> config = RunConfig(model="tiny", problem="largest_number", population=population, data=data)
        >>> result = search(config)
        >>> result.n_candidates, result.evaluation.ensemble.n
        (6, 14)
    """
    from thickets.flows.config.preflight import check_inputs

    check_inputs(config)
    use_services(config.storage.home)
    if config.problems is not None:
        from thickets.flows.randopt_many import randopt_many

        return randopt_many(config, fresh=fresh)
    if config.rounds is not None:
        from thickets.flows.rounds.flow import randopt_rounds

        return randopt_rounds(config, fresh=fresh)
    from thickets.flows.randopt import randopt

    return randopt(config, fresh=fresh)


def regimes(config: RunConfig, models: Sequence[str], *, floor: bool = True, fresh: bool = False) -> Regimes:
    """Search the same problem around several models, and hold what surrounds each against the models' size.

    Each model is a run of its own, the one that `search` would make of it. The same call again goes on where it
    stopped, and one with a further model scores only that.

    Args:
        config: The run, of one problem; its own model counts only if it is among the others.
        models: Two models or more, each as `model` would name it.
        floor: Also search around the smallest model's architecture with random weights.
        fresh: As for `search`.

    Raises:
        InputError: Something in the configuration or a model cannot be used; found before anything is scored.
        RunError: As for `search`.

    Example:
        >>> from thickets import RunConfig, regimes
        >>> data = {"selection": 12, "validation": 10, "test": 14}
        >>> config = RunConfig(name="size", problem="signals", population={"size": 6}, data=data)
        >>> found = regimes(config, ["signals-needle", "signals-thicket", "signals-plateau"])
        >>> [model.name for model in found.models]
        ['signals-needle', 'signals-thicket', 'signals-plateau']
        >>> found.floor.name
        'signals-needle'
    """
    from thickets.flows.regimes.members import check_members

    check_members(config, models)
    use_services(config.storage.home)
    from thickets.flows.regimes.flow import randopt_regimes

    return randopt_regimes(config, list(models), floor=floor, fresh=fresh)


def rescore(run: str, overrides: Sequence[str] = (), *, home: Path | str | None = None) -> RunSummary:
    """Judge the answers of a run again, as a run of its own; generate only what is not there yet.

    Args:
        run: The run.
        overrides: ``section.field=value`` assignments that change verdicts and no answer: ``problem.verifier=math``.
        home: As for `list_runs`.

    Returns:
        The new run's summary; `changed_verdicts` counts the verdicts that are others.

    Raises:
        InputError: Other answers would be needed, or nothing changes.
        RunError: As for `search`.

    Example:
        >>> from thickets import rescore
        >>> again = rescore("latest", ["decoding.reasoning=[<thinking>, </thinking>]"])
        >>> again.changed_verdicts.n_gained, again.engine.n_answers
        (0, 0)
    """
    from thickets.flows.config.preflight import check_inputs
    from thickets.flows.search.rescoring import rescore_config

    where, folder = find(run, home)
    config = rescore_config(where, folder, overrides)
    check_inputs(config)
    use_services(where.root)
    from thickets.flows.randopt import randopt

    return randopt(config, rescored_from=folder.run_id)


def estimate(config: RunConfig) -> Estimate | EstimateOfMany | EstimateOfRounds:
    """Estimate candidates, completions, tokens, seconds and bytes of a run from a short probe of its model.

    With `problems` of every problem and in all, with `rounds` of one round and of all that there may be.

    Raises:
        InputError: Something in the configuration cannot be used.

    Example:
        >>> from thickets import RunConfig, estimate
        >>> data = {"selection": 12, "validation": 10, "test": 14}
        >>> cost = estimate(RunConfig(model="tiny", problem="largest_number", population={"size": 6}, data=data))
        >>> cost.n_candidates, cost.completions["selection"]
        (6, 84)
    """
    from thickets.flows.config.preflight import check_inputs
    from thickets.flows.search.estimate import estimate as estimate_one
    from thickets.flows.search.estimate import estimate_many

    check_inputs(config)
    if config.rounds is not None:
        from thickets.flows.search.estimate_rounds import estimate_rounds

        return estimate_rounds(config)
    return estimate_one(config) if config.problems is None else estimate_many(config)


def check(config: RunConfig, *, n: int = 20, row: str | None = None) -> Check:
    """Show what a run will ask and how it will judge: its first prompt, and replies of the base; nothing is written.

    Args:
        config: The run, of one problem.
        n: How many replies of the base, to the first questions of the selection split; with 0 no engine is started.
        row: Id or question of the example whose prompt is shown; None: the first of the selection split.

    Raises:
        InputError: Something in the configuration cannot be used, or there is no such example.

    Example:
        >>> from thickets import RunConfig, check
        >>> data = {"selection": 12, "validation": 10, "test": 14}
        >>> found = check(RunConfig(model="tiny", problem="largest_number", data=data), n=2)
        >>> found.prompt.n_bos, len(found.replies), found.replies[0].why.partition(":")[0] in ("wrong", "abstains")
        (0, 2, True)
    """
    from thickets.flows.check.replies import check as check_one

    return check_one(config, n=n, row=row)


def judge(config: RunConfig, replies: Sequence[tuple[str, str]]) -> list[CheckedReply]:
    """Judge replies of your own as a run would; no model is needed. Reading the data judges every gold answer, too.

    Args:
        config: The run, of one problem.
        replies: Pairs of a question of the data (its text or its id) and a whole reply.

    Returns:
        What becomes of each reply: `verdict` (right, wrong or abstains), `extracted`, `score` and, in a line, `why`.

    Raises:
        InputError: Something in the configuration cannot be used, a gold answer is not right, or there is no such
            question.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> from thickets import RunConfig, judge
        >>> rows = [{"question": f"{n} + 1?", "answer": n + 1} for n in range(9)]
        >>> _ = Path("sums.json").write_text(json.dumps(rows))
        >>> problem = {"name": "file", "path": "sums.json", "verifier": "numeric"}
        >>> config = RunConfig(problem=problem, data={"selection": 3, "validation": 3, "test": 3})
        >>> [found] = judge(config, [("4 + 1?", "It is 5.")])
        >>> found.why
        'right: 5 = gold 5'
    """
    from thickets.flows.check.replies import check_own_replies

    return check_own_replies(config, replies)


def distill(run: str, overrides: Sequence[str] = (), *, home: Path | str | None = None) -> DistillSummary:
    """Train one model on the answers of a finished run's experts, as a Prefect flow, and compare it with them.

    Args:
        run: A finished run.
        overrides: ``distillation.FIELD=VALUE`` assignments.
        home: As for `list_runs`.

    Raises:
        InputError: The run is not finished, or an override is about something else.

    Example:
        >>> from thickets import distill
        >>> found = distill("latest", ["distillation.examples=8", "distillation.min_rows=8"])
        >>> found.reason  # None where a student was trained
        '...'
    """
    from thickets.flows.config.preflight import check_inputs
    from thickets.flows.distillation.plan import distill_config

    where, folder = find(run, home)
    config = distill_config(where, folder, overrides)
    check_inputs(config)
    use_services(where.root)
    from thickets.flows.distillation.flow import distill as distill_run

    return distill_run(config)


def rival(
    run: str, method: RivalMethod, overrides: Sequence[str] = (), *, home: Path | str | None = None
) -> RivalSummary:
    """Make one model by another method on a finished run's questions and budget, as a Prefect flow, and compare it.

    Args:
        run: A finished run.
        method: ``es`` (evolution strategies) or ``grpo``.
        overrides: ``rivals.FIELD=VALUE`` assignments.
        home: As for `list_runs`.

    Raises:
        InputError: The run is not finished, or an override is about something else.
    """
    from thickets.flows.config.preflight import check_inputs
    from thickets.flows.rivals.plan import rival_config

    where, folder = find(run, home)
    config = rival_config(where, folder, method, overrides)
    check_inputs(config)
    use_services(where.root)
    from thickets.flows.rivals.flow import rival as make_rival

    return make_rival(config, method)
