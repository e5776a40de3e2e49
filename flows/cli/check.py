"""The command that shows what a run will ask and how it will judge, and that judges single replies and cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from thickets.flows.cli.options import AsJson, Overrides, render, say
from thickets.storage.errors import InputError

_FORMS = "CONFIG, or --cases FILE, or --verifier V --gold G --reply R"


def check(
    config: Annotated[
        str | None, typer.Argument(metavar="CONFIG", help="A preset's name, or a path to a YAML file.")
    ] = None,
    overrides: Overrides = None,
    n: Annotated[int, typer.Option("--n", min=0, help="How many replies of the base; 0 starts no engine.")] = 20,
    row: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Id or question of the example to show; else the selection split's first."),
    ] = None,
    reply: Annotated[str | None, typer.Option(help="Judge this reply; no model is needed.")] = None,
    verifier: Annotated[
        str | None, typer.Option(metavar="NAME", help="Without CONFIG: judge --reply by this verifier.")
    ] = None,
    gold: Annotated[
        list[str] | None, typer.Option(help="With --verifier: the gold answer. Repeatable: all of them are accepted.")
    ] = None,
    pattern: Annotated[str | None, typer.Option(help="With --verifier regex: its pattern.")] = None,
    cases: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Judge the rows of a JSONL file; exit status 1 if a verdict is not allowed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the first prompt, the gold answer as it is read, and how replies of the base are judged; write nothing."""
    ways = [way for way, given in (("CONFIG", config), ("--cases", cases), ("--verifier", verifier)) if given]
    if len(ways) != 1:
        raise InputError(f"check: found {' and '.join(ways) or 'none of these'}; give {_FORMS}")
    if verifier is None and (gold or pattern is not None):
        raise InputError(f"{'--gold' if gold else '--pattern'}: goes with --verifier and with nothing else")
    if config is None and (overrides or row is not None):
        raise InputError(f"{'--set' if overrides else '--row'}: goes with CONFIG and with nothing else")
    if cases is not None:
        if reply is not None:
            raise InputError("--reply: the rows of --cases have replies of their own; leave it out")
        _cases(cases, as_json=as_json)
    elif verifier is not None:
        _single(verifier, gold or [], reply, pattern, as_json=as_json)
    elif reply is not None:
        _own_reply(str(config), overrides or [], reply, row, as_json=as_json)
    else:
        _config(str(config), overrides or [], n, row, as_json=as_json)


def _config(source: str, overrides: list[str], n: int, row: str | None, *, as_json: bool) -> None:
    from thickets.flows.check.replies import check as check_one
    from thickets.flows.config.file import load_config

    config = load_config(source, overrides)
    if n:
        say("loading the model")
    found = [check_one(each, n=n, row=row) for each in config.per_problem]
    if as_json:
        typer.echo(
            json.dumps(
                found[0].model_dump() if config.problems is None else [one.model_dump() for one in found], indent=2
            )
        )
        return
    from thickets.flows.cli.tables_check import check_report

    for one in found:
        render(check_report(one))


def _own_reply(source: str, overrides: list[str], reply: str, row: str | None, *, as_json: bool) -> None:
    from thickets.flows.check.replies import check_own_reply
    from thickets.flows.config.file import load_config

    found = check_own_reply(load_config(source, overrides), reply, row=row)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    from thickets.flows.cli.tables_check import reply_lines

    render(reply_lines(found))


def _single(verifier: str, gold: list[str], reply: str | None, pattern: str | None, *, as_json: bool) -> None:
    from thickets.flows.check.single import judge_reply

    if not gold or reply is None:
        raise InputError(f"{'--reply' if gold else '--gold'}: is missing; --verifier wants --gold and --reply")
    found = judge_reply(verifier, gold, reply, pattern=pattern)
    typer.echo(found.model_dump_json() if as_json else found.why)


def _cases(path: Path, *, as_json: bool) -> None:
    from thickets.flows.check.cases import check_cases

    found = check_cases(path)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        from thickets.flows.cli.tables_check import cases_report

        render(cases_report(found))
    if found.failures:
        raise typer.Exit(1)
