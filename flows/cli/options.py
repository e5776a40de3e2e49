"""Arguments and options that several commands share, and how they print."""

from __future__ import annotations

import json
import shlex
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from thickets.storage.home import Home

Source = Annotated[str, typer.Argument(metavar="CONFIG", help="A preset's name, or a path to a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field, e.g. population.size=500. Repeatable."),
]
RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run id, a unique prefix of one, or `latest`: the last that began to score."),
]
HomeFolder = Annotated[
    Path | None, typer.Option("--home", help="Folder of the runs (default: $THICKETS_HOME, else thickets-data).")
]
RunHome = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder of the runs (default: storage.home of the config, $THICKETS_HOME, thickets-data)."
    ),
]
ModelName = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A run, an MLflow address (models:/..., runs:/...), a checkpoint, a hub id."),
]
ExpertCount = Annotated[int, typer.Option("--k", min=0, help="How many experts vote, the best first; 0: all.")]
LikeRun = Annotated[
    str | None, typer.Option("--like", metavar="RUN", help="For a checkpoint or a hub id: the run it is asked like.")
]
OfMerge = Annotated[bool, typer.Option("--merge", help="Of a run: its merge, which answers alone, not its ensemble.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else there.")]


def say(text: str) -> None:
    """Print a line on standard error: progress and messages."""
    typer.echo(text, err=True)


def render(renderable: object) -> None:
    """Print a table or a panel on standard output."""
    from thickets.flows.cli.tables_results import console

    console().print(renderable)


def home_of(folder: Path | None) -> Home:
    """Return the home: the folder of the option, or else the configuration's default."""
    from thickets.flows.config.run import StorageConfig
    from thickets.storage.home import Home

    return Home(folder or StorageConfig().home)


def home_option(folder: Path) -> str:
    """Return ` --home FOLDER` for a command that finds the folder only by it, else nothing."""
    from thickets.flows.config.run import StorageConfig

    return "" if folder == StorageConfig().home else f" --home {shlex.quote(str(folder))}"


def in_home(folder: Path | None, overrides: list[str] | None) -> list[str]:
    """Return the overrides with the option's folder as the last of them: it wins over configuration and environment."""
    # JSON is YAML too, so that no folder's name is taken for anything but a text.
    return [*(overrides or []), *([] if folder is None else [f"storage.home={json.dumps(str(folder))}"])]


def start_prefect(home: Path) -> AbstractContextManager[None]:
    """Choose the Prefect server of a flow: that of `thickets up` in this home, the user's own, or a temporary one.

    Returns:
        What the flow is to run in; a temporary server is started here and waited for there.
    """
    from thickets.flows.services.connect import connect_services

    if connect_services(home, say):
        return nullcontext()
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE

    from thickets.flows.runtime.temporary_server import TemporaryServer

    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        return nullcontext()
    say("starting Prefect")
    return TemporaryServer().serving()
