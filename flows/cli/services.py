"""Commands that start, show and stop the services of this machine: Prefect, MLflow, the pages of runs, worker."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from thickets.flows.cli.options import AsJson, HomeFolder, home_of, render, say


def up(
    home: HomeFolder = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; other than loopback only with a password in $THICKETS_AUTH.")
    ] = "127.0.0.1",
    prefect_port: Annotated[int, typer.Option(min=0, max=65535, help="Of the Prefect server; 0: any.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=0, max=65535, help="Of the MLflow server; 0: any.")] = 5000,
    view_port: Annotated[int, typer.Option(min=0, max=65535, help="Of the pages of runs; 0: any.")] = 4300,
    detach: Annotated[bool, typer.Option("--detach", help="In the background; stop with `thickets down`.")] = False,
) -> None:
    """Start Prefect, MLflow, the pages of runs and a worker on this machine; Ctrl-C stops them all."""
    from thickets.flows.services.settings import make_settings
    from thickets.flows.services.state import read_state
    from thickets.storage.errors import RunError

    folder = home_of(home).writable().root
    state = read_state(folder)
    if state is not None and state.supervisor.is_alive:  # before its ports are found to be taken
        raise RunError(
            f"the services of {folder} are up already: Prefect {state.prefect_api.removesuffix('/api')}, "
            f"MLflow {state.mlflow}; stop them with `thickets down`"
        )
    settings = make_settings(folder, host, prefect_port, mlflow_port, view_port)
    if detach:
        from thickets.flows.services.detached import start

        say("starting Prefect, MLflow, the pages of runs and the worker (about a minute)")
        started = start(settings)
        for row in started.services:
            typer.echo(f"{row.name + ':':9}{row.address}")
        return
    from thickets.flows.services.supervisor import run

    run(settings, say)


def down(home: HomeFolder = None) -> None:
    """Stop the services of a home; a flow run in progress is marked crashed and keeps its finished shards."""
    from thickets.flows.services.detached import stop

    folder = home_of(home).root
    say(f"stopped the services of {folder}" if stop(folder) else f"no services of {folder} are up")


def status(
    home: HomeFolder = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mark runs that nobody carries out any more, as a kill leaves them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the services of a home, and the flow runs that run or wait."""
    from thickets.flows.services.connect import connect_services
    from thickets.flows.services.state import read_state
    from thickets.storage.home import Home

    folder = home_of(home).root
    connected = connect_services(folder)
    state = read_state(folder)
    from thickets.flows.cli.tables_services import status_lines
    from thickets.flows.services.status import read_status

    repaired = []
    if repair:
        from thickets.flows.runtime.repair import repair as mark_dead

        if not connected:
            say("the services are not up; repairing on the Prefect server that this shell is set to")
        repaired = mark_dead(Home(folder))
    found = read_status(folder, state, connected=connected)
    if as_json:
        typer.echo(json.dumps(found.model_dump() | {"repaired": [each.model_dump() for each in repaired]}, indent=2))
        return
    for line in status_lines(found, state):
        render(line)
    for each in repaired:
        typer.echo(f"repaired: {each.name} was {each.was}, is {each.now}; prefect flow-run retry {each.flow_run_id}")
    if repair and not repaired:
        typer.echo("nothing to repair")
