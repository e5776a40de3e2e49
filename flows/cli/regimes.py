"""The command that searches the same problem around several models."""

from __future__ import annotations

from typing import Annotated

import typer

from thickets.flows.cli.options import AsJson, Overrides, RunHome, Source, home_option, in_home, say, start_prefect


def regimes(
    config: Source,
    more: Annotated[list[str] | None, typer.Argument(metavar="MODEL", show_default=False, hidden=True)] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", metavar="MODEL...", help="Two models or more: A B C, each as `model` would name it."),
    ] = None,
    floor: Annotated[
        bool,
        typer.Option(
            "--floor/--no-floor",
            help="Also search around the smallest model's architecture with random weights.",
        ),
    ] = True,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; what is there is moved aside.")] = False,
    home: RunHome = None,
    as_json: AsJson = False,
) -> None:
    """Search the same problem around several models, and hold what surrounds each against their size."""
    from thickets.flows.config.file import load_config
    from thickets.flows.regimes.members import check_members
    from thickets.flows.runtime.interrupt import ends_soon

    # An option takes one word: what follows the first model comes as further arguments.
    named = [*(models or []), *(more or [])]
    run_config = load_config(config, in_home(home, overrides))
    check_members(run_config, named)
    prefect = start_prefect(run_config.storage.home)
    from thickets.flows.regimes.flow import randopt_regimes

    with ends_soon(), prefect:
        found = randopt_regimes(run_config, named, floor=floor, fresh=fresh)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    from thickets.flows.cli.tables_regimes import show_regimes
    from thickets.flows.cli.tables_results import console
    from thickets.flows.results.groups import GroupFolder

    show_regimes(found, console())
    report = GroupFolder(run_config.storage.home / "groups" / found.group_id).report
    console().print(f"report:  {report}", soft_wrap=True, highlight=False, markup=False)
    say(f"each model is a run of its own: thickets show RUN{home_option(run_config.storage.home)}")
