"""The command that writes a small project to begin with."""

from __future__ import annotations

from typing import Annotated

import typer

from thickets.flows.cli.options import say
from thickets.flows.project.kinds import KINDS
from thickets.storage.errors import InputError


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the folder, its configuration and its run.")],
    kind: Annotated[str | None, typer.Option(metavar="KIND", help=f"What an answer is: {', '.join(KINDS)}.")] = None,
) -> None:
    """Write a small project of your own: questions, a configuration, a test, and commands; overwrite nothing."""
    if kind is None:
        raise InputError(f"--kind: is missing; it says what an answer is, one of {', '.join(KINDS)}")
    from thickets.flows.project.write import write_project

    for path in write_project(name, kind):
        typer.echo(path)
    say(f"next: cd {name} && thickets check {name}.yaml")
