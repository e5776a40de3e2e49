"""The arrows of the layout point one way, and no library leaks into a layer that must not know it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["storage", "tasks", "flows"]  # each may import itself and what stands before it
PURE = ["tasks/noise", "tasks/engines", "tasks/problems", "tasks/verifiers"]
FORBIDDEN_IN_PURE = {"prefect", "mlflow", "duckdb"}
# The command line, and the progress bar of a search.
MAY_USE_RICH = ("flows/cli/", "flows/search/progress.py")
# Artifacts are for whoever watches: made elsewhere, one could end a run whose server is away for a moment.
MAY_MAKE_ARTIFACTS = ("flows/runtime/prefect_server.py", "flows/search/progress.py", "flows/publish/artifacts.py")
# An MLflow server's log is where a logged model's lines are read; `_NAME` is ours.
MAY_LOG_ELSEWHERE = [
    "tasks/scoring/executors/log_lines.py: _NAME",
    "tasks/serving/ensemble_model.py: mlflow.thickets",
]
OURS = ["flows", "tasks", "storage", "tests", "benchmarks", "examples", "deployments", "thickets"]


@cache
def sources(folder: str) -> tuple[Path, ...]:
    return tuple(path for path in sorted((ROOT / folder).rglob("*.py")) if not is_behind_a_link(path))


def is_behind_a_link(path: Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(ROOT))


def imports(tree: ast.AST) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Every imported module, with the names taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, tuple(alias.name for alias in node.names)


@cache
def imported(path: Path) -> frozenset[str]:
    """What a file imports: top-level names of libraries, ``layer`` or ``layer.module`` names of ours."""
    found = set()
    for module, _ in imports(ast.parse(path.read_text(encoding="utf-8"))):
        top, _, rest = module.partition(".")
        found.add(rest.partition(".")[0] if top == "thickets" and rest else top)
    return frozenset(found)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_layers_below_it(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    assert {str(path): imported(path) & above for path in sources(layer) if imported(path) & above} == {}


@pytest.mark.parametrize("package", PURE)
def test_noise_engines_and_problems_work_without_the_orchestration(package: str) -> None:
    files = sources(package)
    assert files
    offenders = {str(path): imported(path) & FORBIDDEN_IN_PURE for path in files if imported(path) & FORBIDDEN_IN_PURE}
    assert offenders == {}


@pytest.mark.parametrize("folder", ["storage", "flows/results", "tasks/results"])
def test_storage_and_results_know_nothing_of_prefect(folder: str) -> None:
    assert sources(folder)
    assert [path for path in sources(folder) if "prefect" in imported(path)] == []


def test_rich_stays_in_the_command_line_and_the_progress_bar() -> None:
    users = [
        path.relative_to(ROOT).as_posix() for layer in LAYERS for path in sources(layer) if "rich" in imported(path)
    ]
    assert [path for path in users if not path.startswith(MAY_USE_RICH)] == []
    assert "flows/search/progress.py" in users


def test_artifacts_are_made_only_where_a_server_that_is_away_ends_no_run() -> None:
    files = [str(path.relative_to(ROOT)) for path in sources("flows") if "prefect.artifacts" in modules_of(path)]
    assert [path for path in files if path not in MAY_MAKE_ARTIFACTS] == []


def test_whoever_opens_a_run_in_mlflow_goes_on_without_it() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in sources("flows")}
    shared = "def open_below("  # opens one for its callers, who are looked at in its place
    openers = [
        path
        for path, text in texts.items()
        if shared not in text and ("Tracker.start(" in text or "open_below(" in text)
    ]
    assert len(openers) > 2
    guard = "thickets.flows.runtime.mlflow_server"
    assert [path for path in openers if guard not in modules_of(path)] == []


def modules_of(path: Path) -> set[str]:
    return {module for module, _ in imports(ast.parse(path.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("folder", OURS)
def test_nothing_imports_a_bare_layer(folder: str) -> None:
    bare = {
        f"{path}: {module}"
        for path in sources(folder)
        for module, _ in imports(ast.parse(path.read_text(encoding="utf-8")))
        if module.partition(".")[0] in LAYERS
    }
    assert bare == set()


@cache
def modules() -> dict[str, Path]:
    """Our modules by dotted name, ``flows.plan`` for instance; a package stands for its ``__init__.py``."""
    found = {}
    for layer in LAYERS:
        for path in sources(layer):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_modules(path: Path) -> set[str]:
    """Our modules that a file imports, wherever in it, for types as well."""
    found = set()
    for module, names in imports(ast.parse(path.read_text(encoding="utf-8"))):
        name = module.removeprefix("thickets.")
        if name == module:
            continue
        inside = {f"{name}.{each}" for each in names} & modules().keys()
        found |= inside or {name}
        if len(inside) < len(names):
            found.add(name)
    return found & modules().keys()


def circle(arrows: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def file_arrows() -> dict[str, set[str]]:
    return {name: imported_modules(path) - {name} for name, path in modules().items()}


def folder_of(module: str) -> str:
    """The folder of a module, nested ones apart; the loose files of a layer stand for themselves."""
    path = modules()[module].relative_to(ROOT)
    return path.as_posix() if len(path.parts) == 2 else path.parent.as_posix()


def test_no_circle_of_files() -> None:
    assert circle(file_arrows()) == []


def test_no_circle_of_folders() -> None:
    arrows: dict[str, set[str]] = {}
    for module, targets in file_arrows().items():
        here = folder_of(module)
        arrows.setdefault(here, set()).update(folder_of(target) for target in targets)
        arrows[here].discard(here)
    assert circle(arrows) == []


def test_the_scan_sees_imports_and_circles() -> None:
    assert {"ast", "pathlib", "pytest"} <= imported(Path(__file__))
    assert "flows.plan" in imported_modules(ROOT / "flows/search/search.py")
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) != []
    assert not is_behind_a_link(ROOT / "flows/plan.py")
    assert is_behind_a_link(ROOT / "thickets/flows/plan.py")


def test_every_logger_of_ours_is_below_the_one_that_terminal_and_prefect_listen_to() -> None:
    """One by another name would reach neither; loggers of libraries are only made quieter, in one line."""
    odd = []
    for layer in LAYERS:
        for path in sources(layer):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not (isinstance(node, ast.Assign) and isinstance(call := node.value, ast.Call)):
                    continue
                if not (isinstance(call.func, ast.Attribute) and call.func.attr == "getLogger" and call.args):
                    continue
                name = ast.unparse(call.args[0]).strip("'\"")
                is_ours = name == "__name__" or name.partition(".")[0] == "thickets"
                if not is_ours and "setLevel" not in ast.unparse(node):
                    odd.append(f"{path.relative_to(ROOT)}: {name}")
    assert odd == MAY_LOG_ELSEWHERE
