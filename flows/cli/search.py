"""Commands that compute: run a search, estimate its cost, distil a student, and compare engines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from thickets.flows.cli.options import (
    AsJson,
    HomeFolder,
    Overrides,
    RunHome,
    RunName,
    Source,
    home_of,
    home_option,
    in_home,
    render,
    say,
    start_prefect,
)
from thickets.tasks.results.rival_method import RivalMethod

if TYPE_CHECKING:
    from thickets.flows.config.run import RunConfig
    from thickets.flows.results.comparison import Comparison
    from thickets.flows.results.distillation import DistillSummary
    from thickets.flows.results.summary import RunSummary


def run(
    config: Source,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; what is there is moved aside.")] = False,
    home: RunHome = None,
    as_json: AsJson = False,
) -> None:
    """Run a search, or go on with an interrupted one: the same config continues where it stopped."""
    from thickets.flows.config.file import load_config
    from thickets.flows.config.preflight import check_inputs
    from thickets.flows.runtime.clock import seconds_of_command
    from thickets.flows.runtime.interrupt import ends_soon

    run_config = load_config(config, in_home(home, overrides))
    check_inputs(run_config)
    prefect = start_prefect(run_config.storage.home)
    from thickets.flows.cli.tables_results import console, show_summary
    from thickets.flows.randopt import randopt

    if run_config.problems:
        from thickets.flows.cli.tables_comparison import show_comparison
        from thickets.flows.randopt_many import randopt_many
        from thickets.flows.results.groups import group_of
        from thickets.storage.home import Home

        with ends_soon(), prefect:
            comparison = randopt_many(run_config, fresh=fresh)
        if as_json:
            typer.echo(_as_json(comparison, run_config, [each.run_id for each in comparison.runs]))
            return
        run_ids = [each.run_id for each in comparison.runs]
        show_comparison(comparison, console())
        _show_students(run_config, run_ids)
        _show_rivals(run_config, run_ids)
        group = group_of(Home(run_config.storage.home), run_config.name, run_ids)
        console().print(f"report:  {group.report}", soft_wrap=True, highlight=False, markup=False)
        say(f"each problem is a run of its own: thickets show RUN{home_option(run_config.storage.home)}")
        return
    if run_config.rounds:
        from thickets.flows.cli.tables_rounds import show_rounds
        from thickets.flows.results.groups import GroupFolder
        from thickets.flows.rounds.flow import randopt_rounds
        from thickets.storage.home import Home

        with ends_soon(), prefect:
            rounds = randopt_rounds(run_config, fresh=fresh)
        if as_json:
            typer.echo(rounds.model_dump_json(indent=2))
            return
        show_rounds(rounds, console())
        report = GroupFolder(Home(run_config.storage.home).root / "groups" / rounds.group_id).report
        console().print(f"report:  {report}", soft_wrap=True, highlight=False, markup=False)
        say(f"each round is a run of its own: thickets show RUN{home_option(run_config.storage.home)}")
        return
    with ends_soon(), prefect:
        summary = randopt(run_config, fresh=fresh)
    if as_json:
        typer.echo(_as_json(summary, run_config, [summary.run_id]))
        return
    until_now = summary.model_copy(update={"wall_s": seconds_of_command(summary.wall_s)})
    show_summary(until_now, console(), home_option(run_config.storage.home))
    _show_students(run_config, [summary.run_id])
    _show_rivals(run_config, [summary.run_id])


def rescore(name: RunName, overrides: Overrides = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Judge the answers of a run again, as a run of its own; generate only what is not there yet."""
    from thickets.flows.config.preflight import check_inputs
    from thickets.flows.results.runs import find_run
    from thickets.flows.runtime.clock import seconds_of_command
    from thickets.flows.runtime.interrupt import ends_soon
    from thickets.flows.search.rescoring import rescore_config

    folder = find_run(home_of(home), name)
    run_config = rescore_config(home_of(home), folder, overrides or [])
    check_inputs(run_config)
    prefect = start_prefect(run_config.storage.home)
    from thickets.flows.cli.tables_results import console, show_summary
    from thickets.flows.randopt import randopt

    with ends_soon(), prefect:
        summary = randopt(run_config, rescored_from=folder.run_id)
    if as_json:
        typer.echo(_as_json(summary, run_config, [summary.run_id]))
        return
    if summary.changed_verdicts:
        say(summary.changed_verdicts.sentence)
    until_now = summary.model_copy(update={"wall_s": seconds_of_command(summary.wall_s)})
    show_summary(until_now, console(), home_option(run_config.storage.home))
    _show_students(run_config, [summary.run_id])


def estimate(config: Source, overrides: Overrides = None, home: RunHome = None, as_json: AsJson = False) -> None:
    """Estimate the candidates, completions, tokens, time and disk of a run before it starts."""
    from thickets.flows.config.file import load_config
    from thickets.flows.config.preflight import check_inputs

    run_config = load_config(config, in_home(home, overrides))
    check_inputs(run_config)
    say("loading the model for a short probe")
    from thickets.flows.cli.tables_check import prompt_lines
    from thickets.flows.cli.tables_search import estimate_table, estimates_table, rounds_table
    from thickets.flows.search.estimate import Estimate, EstimateOfMany, estimate_many
    from thickets.flows.search.estimate import estimate as estimate_run
    from thickets.flows.search.estimate_rounds import EstimateOfRounds, estimate_rounds

    result: Estimate | EstimateOfMany | EstimateOfRounds
    if run_config.rounds:
        result = estimate_rounds(run_config)
    else:
        result = estimate_many(run_config) if run_config.problems else estimate_run(run_config)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
        return
    if isinstance(result, EstimateOfMany):
        each, tables = result.problems, [estimates_table(result)]
    elif isinstance(result, EstimateOfRounds):
        each, tables = (result.one,), [estimate_table(result.one), rounds_table(result)]
    else:
        each, tables = (result,), [estimate_table(result)]
    for one in each:
        render(prompt_lines(one.first_prompt, short=True))
        render("")
    for table in tables:
        render(table)


def distill(name: RunName, overrides: Overrides = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Train one model on the answers of a finished run's experts, and compare it with them."""
    from thickets.flows.config.preflight import check_inputs
    from thickets.flows.distillation.plan import distill_config
    from thickets.flows.results.runs import find_run
    from thickets.flows.runtime.interrupt import ends_soon

    run_config = distill_config(home_of(home), find_run(home_of(home), name), overrides or [])
    check_inputs(run_config)
    prefect = start_prefect(run_config.storage.home)
    from thickets.flows.cli.tables_distillation import show_distillation
    from thickets.flows.cli.tables_results import console
    from thickets.flows.distillation.flow import distill as distill_run

    with ends_soon(), prefect:
        summary = distill_run(run_config)
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
    else:
        show_distillation(summary, console())


def rival(
    name: RunName,
    method: Annotated[RivalMethod, typer.Option("--method", help="es: evolution strategies; grpo: GRPO, by TRL.")],
    overrides: Overrides = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make one model by another method, on a finished run's questions and budget, and compare it with the run."""
    from thickets.flows.config.preflight import check_inputs
    from thickets.flows.results.runs import find_run
    from thickets.flows.rivals.plan import rival_config
    from thickets.flows.runtime.interrupt import ends_soon

    run_config = rival_config(home_of(home), find_run(home_of(home), name), method, overrides or [])
    check_inputs(run_config)
    prefect = start_prefect(run_config.storage.home)
    from thickets.flows.cli.tables_results import console
    from thickets.flows.cli.tables_rivals import show_rivals
    from thickets.flows.rivals.flow import rival as make_rival

    with ends_soon(), prefect:
        summary = make_rival(run_config, method)
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
    else:
        show_rivals([summary], console(), places=True)


def parity(
    config: Source,
    b: Annotated[str, typer.Option("--b", metavar="ENGINE", help="The other engine, written like --a.")],
    a: Annotated[
        str,
        typer.Option(
            "--a",
            metavar="ENGINE",
            help="One engine: the config's, with KIND[:FIELD=VALUE,...] in place of its own fields, "
            "e.g. transformers:batch_size=16; empty: as the config has it.",
        ),
    ] = "",
    overrides: Overrides = None,
    candidates: Annotated[int, typer.Option(min=0, help="How many of the population, besides the base.")] = 8,
    differences: Annotated[int, typer.Option(min=0, help="How many differing answers to show.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Compare two engines, or two settings of one: texts, answers and scores on the selection split."""
    from thickets.flows.config.file import load_config
    from thickets.flows.placement.parity import compare_engines, engine_config

    run_config = load_config(config, overrides or [])
    sides = [engine_config(config, overrides or [], option, text) for option, text in (("--a", a), ("--b", b))]
    say("loading the model")
    result = compare_engines(run_config, *sides, n_candidates=candidates, n_shown=differences, say=say)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        from thickets.flows.cli.tables_search import parity_report

        render(parity_report(result))


def _show_students(config: RunConfig, run_ids: list[str]) -> None:
    """Print the distillation of each of these runs, if the configuration has one."""
    from thickets.flows.cli.tables_distillation import show_distillation
    from thickets.flows.cli.tables_results import console

    for student in _students(config, run_ids):
        show_distillation(student, console())


def _show_rivals(config: RunConfig, run_ids: list[str]) -> None:
    """Print the rivals of each of these runs that the configuration has."""
    if config.rivals is None or not config.rivals.methods:
        return
    from thickets.flows.cli.tables_results import console
    from thickets.flows.cli.tables_rivals import show_rivals
    from thickets.flows.rivals.plan import load_rival

    for run_id in run_ids:
        show_rivals([load_rival(config, run_id, method) for method in config.rivals.methods], console())


def _students(config: RunConfig, run_ids: list[str]) -> list[DistillSummary]:
    """Read the distillation of each of these runs, if the configuration has one."""
    if config.distillation is None:
        return []
    from thickets.flows.distillation.plan import load_distillation

    return [load_distillation(config, run_id) for run_id in run_ids]


def _as_json(result: RunSummary | Comparison, config: RunConfig, run_ids: list[str]) -> str:
    """Write a result as JSON, with the keys `students` and `rivals` beside its own if the configuration has any."""
    students = [student.model_dump(mode="json") for student in _students(config, run_ids)]
    more = {"students": students} if students else {}
    if config.rivals is not None and config.rivals.methods:
        from thickets.flows.rivals.plan import load_rival

        found = [load_rival(config, run_id, method) for run_id in run_ids for method in config.rivals.methods]
        more["rivals"] = [each.model_dump(mode="json") for each in found]
    return json.dumps(result.model_dump(mode="json") | more, indent=2)
