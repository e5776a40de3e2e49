"""Finds the program in a reply: Python that defines something, in a fence or not."""

from __future__ import annotations

import ast
import re
import warnings

_LONGEST = 20_000
_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_PYTHON = ("", "python", "python3", "py")
_BEGINS = re.compile(r"^(?:def|class|async def|import|from|@)\b|^@", re.MULTILINE)
_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def program_in(text: str) -> str | None:
    """Return the program of a reply, or ``None`` if it holds none that can be parsed.

    The last fenced block of Python that defines a function or a class; without such a fence, the text from its first
    line that begins as a program does, up to the last line with which it can still be parsed. A program longer than
    20,000 characters is none.
    """
    blocks = [found[2] for found in _FENCE.finditer(text[-4 * _LONGEST :]) if found[1].lower() in _PYTHON]
    for block in reversed(blocks):
        if _defines_something(block):
            return block.strip("\n")
    return None if blocks else _bare(text)


def _bare(text: str) -> str | None:
    begin = _BEGINS.search(text)
    if begin is None:
        return None
    whole = text[begin.start() :]
    lines = whole[:_LONGEST].splitlines()
    # What follows a program is prose, which stands at the margin.
    ends = [
        *([len(lines)] if len(whole) <= _LONGEST else []),
        *(at for at in range(len(lines) - 1, 0, -1) if lines[at] and not lines[at][0].isspace()),
    ]
    for end in ends[:60]:
        program = "\n".join(lines[:end]).rstrip()
        if _defines_something(program):
            return program
    return None


def _defines_something(program: str) -> bool:
    if len(program) > _LONGEST or "\0" in program:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape that Python does not know
            tree = ast.parse(program)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return any(isinstance(node, _DEFINES) or _is_lambda(node) for node in tree.body)


def _is_lambda(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
