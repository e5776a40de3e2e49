"""The command that lists the problems, and shows one with its options and a sample question."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thickets.flows.cli.options import AsJson, say
from thickets.storage.errors import InputError

if TYPE_CHECKING:
    from thickets.tasks.problems.kind import Kind

_GYM = "reasoning_gym"


def problems(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]", help="One problem, to see its options and a sample; or part of a name, to list those."
        ),
    ] = "",
    sample: Annotated[
        bool, typer.Option("--sample", help="A small data file of the problem, one JSON object a line, to try it with.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="With --sample: write it there; default: print it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the problems, a line each; or show one of them with its options and a sample question."""
    from thickets.tasks.problems import own_kinds

    own = own_kinds()
    if sample or to is not None:
        _sample(own, name, to)
        return
    if not name and not as_json:
        _list([*map(_line, own), (f"{_GYM}:TASK", _about_gym())])
        say("one of them, with its options and a sample question: thickets problems NAME")
        return
    found = _fitting(own, name)
    if name and len(found) == 1:
        _show(found[0], as_json=as_json)
    elif as_json:
        typer.echo(json.dumps([_named(each) for each in found], indent=2))
    else:
        _list([*map(_line, found)])


def _sample(own: list[Kind], name: str, to: Path | None) -> None:
    """Print or write the sample data of a problem, and say how it is asked.

    Raises:
        InputError: Not one problem is named, or the file is there already or cannot be written.
    """
    from thickets.tasks.problems.shown import sample_data, sample_images

    found = _fitting(own, name) if name else []
    if len(found) != 1:
        listed = ", ".join(each.name for each in found) or "none"
        raise InputError(f"NAME: --sample needs one problem; found {listed}; name one of `thickets problems`")
    [kind] = found
    text = sample_data(kind)
    if to is None:
        typer.echo(text, nl=False)
        return
    images = sample_images(kind)
    try:
        if to.exists():
            raise FileExistsError
        for place, content in images.items():  # first, so that what is there is whole
            (to.parent / place).parent.mkdir(exist_ok=True)
            (to.parent / place).write_bytes(content)
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"--to is {str(to)!r}, which exists; name another file or remove it") from None
    except OSError as error:
        raise InputError(f"--to is {str(to)!r}: {error.strerror}; name a file in a folder that is there") from None
    beside = f", {len(images)} images in {to.parent / kind.name}" if images else ""
    say(f"{len(text.splitlines())} rows in {to}{beside}")
    if kind.reads_data:
        fields = {"name": kind.name, **kind.sample_config, "path": str(to)}
        # Nobody is to run programs of a model in a weak sandbox because a sample said so.
        left_out = ("test_path", "sandbox")
        shown = ", ".join(f"{field}: {value}" for field, value in fields.items() if field not in left_out)
        say(f"asked by: problem: {{{shown}}} and data: {{selection: 4, validation: 2, test: 4}}")


def _fitting(own: list[Kind], name: str) -> list[Kind]:
    """Return the problem of that name, or else those whose names contain it; a task of reasoning_gym has its own name.

    Raises:
        InputError: There is none, or one that is refused.
    """
    from thickets.tasks.problems import ProblemConfig, load_problem

    if one := [each for each in own if each.name == name]:
        return one
    gym, lacking = _gym()
    every = [*own, *gym]
    if one := [each for each in gym if each.name in (name, f"{_GYM}:{name}")]:
        return one
    if some := [each for each in every if name in each.name]:
        return some
    if lacking is not None:
        raise lacking
    if name.startswith(f"{_GYM}:"):
        load_problem(ProblemConfig(name=name))  # says why this task is not to be had
    names = {each.name.removeprefix(f"{_GYM}:"): each.name for each in every}
    near = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {names[near[0]]}? " if near else ""
    raise InputError(f"NAME: no problem is called {name!r}; {meant}`thickets problems` lists them")


def _gym() -> tuple[list[Kind], InputError | None]:
    """Return reasoning_gym's tasks, or why there are none."""
    from thickets.tasks.problems.reasoning_gym import kinds

    try:
        return kinds(), None
    except InputError as error:
        return [], error


def _about_gym() -> str:
    """Say in one line how many tasks reasoning_gym has, or how to install it."""
    gym, lacking = _gym()
    if lacking is not None:
        return f"Generated, by a library that is not here; {str(lacking).partition('; ')[2]}"
    return f"{len(gym)} generated problems; list them: thickets problems {_GYM}"


def _line(kind: Kind) -> tuple[str, str]:
    return kind.name, kind.summary + (f" (of {kind.source})" if kind.source else "")


def _named(kind: Kind) -> dict[str, str]:
    return {"name": kind.name, "summary": kind.summary, **({"source": kind.source} if kind.source else {})}


def _list(rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, summary in rows:
        typer.echo(f"{name:{width}}  {summary}")


def _show(kind: Kind, *, as_json: bool) -> None:
    from thickets.tasks.problems.shown import sample as shown_sample
    from thickets.tasks.problems.shown import settings

    options, sample = settings(kind), shown_sample(kind)
    if as_json:
        shown = {
            **_named(kind),
            "origin": kind.origin,
            "verifier": _judge(kind),
            "options": [asdict(each) for each in options],
        }
        typer.echo(json.dumps(shown | {"sample": asdict(sample)}, indent=2, default=str))
        return
    typer.echo(": ".join(_line(kind)))
    typer.echo(f"\nsource: {kind.origin or 'not said'}\njudged by: {_judge(kind)}\n\noptions")
    for each in options:
        default = "none" if each.default is None else json.dumps(each.default, default=str)
        value = "required" if each.required else default
        typer.echo(f"  {each.name} ({value}){': ' if each.about else ''}{each.about}")
    typer.echo(f"\nsample\n{_indented(sample.prompt)}\n\nanswer\n{_indented(sample.answer)}")


def _judge(kind: Kind) -> str:
    """Name the verifier, or the problem itself where it judges in a way of its own."""
    return kind.default_verifier or f"a way of its own, see docs/problems.md ({kind.name})"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
