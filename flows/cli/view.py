"""The command that shows runs in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from thickets.flows.cli.options import HomeFolder, home_of, say


def view(
    name: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The run to begin with: an id, a unique prefix, or `latest`."),
    ] = None,
    home: HomeFolder = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; other than loopback only with a password in $THICKETS_AUTH.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any.")] = 4300,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser.")] = True,
) -> None:
    """Look at runs in a browser, also while they are in progress: questions, replies, votes; Ctrl-C ends."""
    from thickets.flows.results.runs import find_run
    from thickets.flows.view.address import make_address

    folder = home_of(home)
    first = None if name is None else find_run(folder, name).run_id
    address = make_address(host, port)
    from thickets.flows.view.server import serve

    def ready() -> None:
        typer.echo(address.url)
        if address.credentials is not None:
            say("the browser asks for user name and password of $THICKETS_AUTH")
        if open_:
            typer.launch(address.url)

    serve(folder, address, first, ready)
