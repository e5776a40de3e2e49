"""The command that tells what is installed here, what a run would take of it, and whether it works."""

from __future__ import annotations

from typing import Annotated

import typer

from thickets.flows.cli.options import AsJson, Overrides, render, say
from thickets.storage.errors import InputError


def doctor(
    config: Annotated[
        str | None, typer.Argument(metavar="CONFIG", help="A preset's name, or a path to a YAML file.")
    ] = None,
    overrides: Overrides = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Test this model: a hub id, a folder or a .gguf file.")
    ] = None,
    test: Annotated[
        bool, typer.Option("--self-test/--no-self-test", help="Start the engine and prove that it holds candidates.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Tell what is installed and what `auto` becomes, and let the engine test itself; exit status 1 if it is broken."""
    from thickets.flows.config.file import load_config
    from thickets.flows.doctor.examine import examine

    if config is None and overrides:
        raise InputError("--set: goes with CONFIG and with nothing else")
    loaded = None if config is None else load_config(config, overrides or [])
    if test:
        say("starting an engine")
    found = examine(loaded, model, test=test)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        from thickets.flows.cli.tables_doctor import doctor_report

        render(doctor_report(found))
    if found.problems:
        raise typer.Exit(1)
