"""Hashes a module with what it imports from its own folder: a changed verifier is another one."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path


def source_sha256(module: str, path: Path) -> str:
    """Hash the source of a module and of every module that it imports, at any remove, from the same folder.

    The folder is the one that holds the top of the module's package; libraries are elsewhere and do not count. Imports
    are read from the source, so those within functions count, and those by a name made at run time do not.

    Args:
        module: Dotted name.
        path: Its file.

    Returns:
        A digest of names and contents that does not depend on where the folder is.
    """
    parts = module.split(".")
    is_package = path.name == "__init__.py"
    root = path.parents[len(parts) if is_package else len(parts) - 1]
    # A folder of libraries holds everything that can be imported: there the module's own package counts.
    own = parts[0] if root.name in ("site-packages", "dist-packages") else None
    sources: dict[str, bytes] = {}
    waiting = [path, *_packages(root, path)]
    while waiting:
        file = waiting.pop()
        name = file.relative_to(root).as_posix()
        if name in sources:
            continue
        sources[name] = file.read_bytes()
        for imported in _imports(sources[name], _package(root, file)):
            found = _file(root, imported)
            if found is not None and own in (None, imported.partition(".")[0]):
                waiting += [found, *_packages(root, found)]
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(f"{name}\0{hashlib.sha256(sources[name]).hexdigest()}\n".encode())
    return digest.hexdigest()


def _packages(root: Path, file: Path) -> Iterator[Path]:
    """Yield the ``__init__.py`` of every package above a file: importing the file runs them."""
    for folder in file.parents:
        if folder == root:
            return
        if (initial := folder / "__init__.py").is_file():
            yield initial


def _package(root: Path, file: Path) -> list[str]:
    return list(file.parent.relative_to(root).parts)


def _imports(source: bytes, package: list[str]) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # imported only if something happens that has not
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield base
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _file(root: Path, module: str) -> Path | None:
    """Return the file of a module in the folder; None for a library, for what is a name in a module, and for none."""
    if (top := module.partition(".")[0]) in sys.stdlib_module_names or top == "thickets":
        return None
    base = root.joinpath(*module.split("."))
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)
