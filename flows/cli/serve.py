"""The command that serves a run's models to clients of OpenAI's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thickets.flows.cli.options import HomeFolder, LikeRun, ModelName, home_of, say


def serve(
    model: ModelName,
    student: Annotated[
        bool, typer.Option("--student", help="Of a run: serve its latest student too, with an engine of its own.")
    ] = False,
    like: LikeRun = None,
    home: HomeFolder = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; other than loopback only with an API key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any.")] = 8000,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with the key that clients must send (default: $THICKETS_API_KEY).")
    ] = None,
    wrap: Annotated[
        bool, typer.Option("--wrap", help="Put a chat's last user turn into the run's own prompt template.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:INDEX.")] = "auto",
    most_waiting: Annotated[int, typer.Option(min=1, help="Questions that may wait; more are refused.")] = 256,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a client waits for an answer at most.")] = 600,
) -> None:
    """Serve ensemble, experts, merge and base to clients of OpenAI's protocol; Ctrl-C ends it."""
    from thickets.flows.serve.opening import open_desks
    from thickets.flows.serve.serve import address_of, listen
    from thickets.flows.serve.serve import serve as run
    from thickets.flows.serve.settings import ServeSettings, read_key

    settings = ServeSettings(host, port, read_key(host, api_key_file), timeout, most_waiting, wrap)
    taken = listen(settings)
    say("loading the model")
    desks = open_desks(
        home_of(home), model, like, student=student, device=device, most_waiting=most_waiting, timeout_s=timeout
    )

    def ready() -> None:
        names = [name for desk in desks for name in desk.catalogue.names()]
        say(f"models: {', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}")
        typer.echo(address_of(taken))

    run(desks, settings, taken, ready)
