"""The command line. Results go to standard output; progress, messages and errors go to standard error.

The commands import what they need when they run: `thickets --help` must not wait for PyTorch and Prefect.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from thickets.flows.cli import (
    check,
    doctor,
    housekeeping,
    init,
    models,
    problems,
    regimes,
    results,
    search,
    serve,
    services,
    view,
)
from thickets.flows.cli.options import say
from thickets.flows.cli.process import QuickEnd
from thickets.flows.runtime.clock import count_from_command
from thickets.flows.runtime.environment import set_command_line_defaults
from thickets.storage.errors import InputError, ThicketsError

app = typer.Typer(
    name="thickets",
    help="Search the neighbourhood of a language model for experts of a task, and let them vote.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

app.command(epilog="Example: `thickets init reviews --kind choice`")(init.init)
app.command(epilog="Example: `thickets run quickstart --set population.size=96`")(search.run)
app.command(epilog="Example: `thickets estimate my.yaml --set population.size=5000`")(search.estimate)
app.command(epilog="Example: `thickets regimes my.yaml --models A B C`")(regimes.regimes)
app.command(epilog="Example: `thickets rescore latest --set problem.verifier=math`")(search.rescore)
app.command(epilog="Example: `thickets check my.yaml --n 20`")(check.check)
app.command(epilog="Example: `thickets doctor my.yaml`")(doctor.doctor)
app.command(epilog="Example: `thickets runs --json`")(results.runs)
app.command(epilog="Example: `thickets show latest --all`")(results.show)
app.command(epilog="Example: `thickets compare quickstart-d45c6075 latest`")(results.compare)
app.command(epilog="Example: `thickets report latest --out result.html`")(results.report)
app.command(epilog="Example: `thickets view latest`")(view.view)
app.command(epilog="Example: `thickets log latest`")(results.log)
app.command(
    epilog='Example: `thickets sql latest --named fixed`, or `thickets sql latest "select * from leaderboard limit 5"`'
)(results.sql)
app.command(epilog="Example: `thickets materialize latest my-expert --rank 1`")(models.materialize)
app.command(epilog="Example: `thickets distill latest --set distillation.examples=200`")(search.distill)
app.command(epilog="Example: `thickets rival latest --method es --set rivals.es.rounds=10`")(search.rival)
app.command(epilog="Example: `thickets promote latest --name gsm8k-champion`")(models.promote)
app.command(epilog='Example: `thickets ask latest "Which is the largest number: 790, 311 or 392?"`')(models.ask)
app.command(epilog="Example: `thickets serve latest --port 8000`")(serve.serve)
app.command(epilog="Example: `thickets evaluate models:/gsm8k-champion@champion new.jsonl --base`")(models.evaluate)
app.command(epilog="Example: `thickets parity my.yaml --a transformers --b vllm`")(search.parity)
app.command(epilog="Example: `thickets problems largest_number`")(problems.problems)
app.command(epilog="Example: `thickets delete latest --dry-run`")(housekeeping.delete)
app.command(epilog="Example: `thickets clean --dry-run`")(housekeeping.clean)
app.command(epilog="Example: `thickets rename latest my-first`")(housekeeping.rename)
app.command(epilog="Example: `thickets export latest run.tar.zst`")(housekeeping.export)
app.command("import", epilog="Example: `thickets import run.tar.zst`")(housekeeping.import_)
app.command(epilog="Example: `thickets up --detach`")(services.up)
app.command(epilog="Example: `thickets status --repair`")(services.status)
app.command(epilog="Example: `thickets down`")(services.down)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"thickets {version('thickets')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def command() -> None:
    """Be the process of the command `thickets`: `main`, and a quick end."""
    end = QuickEnd()
    count_from_command()
    try:
        main()
    except SystemExit as ended:
        end.status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise


def main() -> None:
    """Run the `thickets` command; print every error as one line, with exit status 2 for bad input, else 1."""
    if os.name == "nt":  # nothing imported so far needs what Windows lacks
        _fail("Windows is supported through WSL: install and call thickets there", 2)
    set_command_line_defaults()
    # Where a user's own `module:function` verifier is looked for, after everything else: `python -m` puts it first.
    here = os.getcwd()
    sys.path[:] = [*(path for path in sys.path if path not in ("", here)), here]
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)  # as shells count: 128 + SIGINT
    except InputError as error:
        _fail(str(error), 2)
    except ThicketsError as error:
        _fail(str(error), 1)
    except Exception as error:
        if os.environ.get("THICKETS_DEBUG"):
            traceback.print_exc()
        detail = " ".join(str(error).split())
        _fail(f"{type(error).__name__}: {detail} (THICKETS_DEBUG=1 shows where)", 1)


def _fail(message: str, status: int) -> NoReturn:
    for line in message.splitlines():
        say(f"error: {line}")
    sys.exit(status)
