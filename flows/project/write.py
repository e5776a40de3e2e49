"""Writes a project folder from the templates of its kind."""

from __future__ import annotations

import difflib
import re
from contextlib import ExitStack
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from thickets.flows.project.kinds import KINDS
from thickets.storage.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_QUESTIONS = "questions.jsonl"


def write_project(name: str, kind: str, parent: Path = Path()) -> list[Path]:
    """Write a small project that can be checked and run at once; nothing is overwritten.

    Args:
        name: Of the folder, the configuration and the run.
        kind: One of `KINDS`.
        parent: Where the folder goes; it may be there already.

    Returns:
        The files, in the order in which one reads them.

    Raises:
        InputError: The name or the kind cannot be used, a file is there already, or the folder cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"NAME: found {name!r}; use 1 to 40 letters (a to z), digits, '-' and '_', a letter or digit first"
        )
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"--kind: found {kind!r}; {meant}allowed are {', '.join(KINDS)}")
    folder = parent / name
    files = {folder / file: text for file, text in _texts(name, kind).items()}
    try:
        _write(folder, files)
    except FileExistsError as error:
        raise InputError(
            f"NAME: {error.filename} is there already, and nothing is overwritten; give another name, or move it away"
        ) from None
    except OSError as error:
        raise InputError(f"NAME: {folder} cannot be written: {error.strerror or error}") from None
    return list(files)


def _texts(name: str, kind: str) -> dict[str, str]:
    """Return the texts of the files by their names."""
    loader = PackageLoader("thickets.flows.project")
    # Not HTML: what is written is YAML, Python and Markdown of our own.
    environment = Environment(
        loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, autoescape=False
    )
    # A module's name; with something before it, as a bare one could be that of a library.
    module = f"judge_{name.replace('-', '_')}"
    values = {"name": name, "kind": kind, "about": KINDS[kind], "module": module}

    def rendered(template: str) -> str:
        return environment.get_template(template).render(values)

    texts = {
        "README.md": rendered("README.md.jinja"),
        f"{name}.yaml": rendered("project.yaml.jinja"),
        _QUESTIONS: loader.get_source(environment, f"{kind}/{_QUESTIONS}")[0],
        "test_replies.py": rendered("test.py.jinja"),
    }
    return texts if kind != "function" else texts | {f"{module}.py": rendered("function/judge.py.jinja")}


def _write(folder: Path, files: dict[Path, str]) -> None:
    """Write every file into a folder, or none; one that is there stays as it is.

    Raises:
        FileExistsError: One of them is there.
        OSError: One cannot be written.
    """
    with ExitStack() as undo:
        if not folder.is_dir():
            folder.mkdir()
            undo.callback(folder.rmdir)
        for path, text in files.items():
            with path.open("x", encoding="utf-8") as file:
                undo.callback(path.unlink)
                file.write(text)
        undo.pop_all()
