"""The arrows of the layout point one way, and no library leaks into a layer that must not know it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["storage", "tasks", "flows"]  # each may import itself and what stands before it
PURE = ["tasks/noise", "tasks/engines", "tasks/problems"]
FORBIDDEN_IN_PURE = {"prefect", "mlflow", "duckdb"}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_layers_below_it(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    offenders = {str(path): imported(path) & above for path in (ROOT / layer).rglob("*.py") if imported(path) & above}
    assert offenders == {}


@pytest.mark.parametrize("package", PURE)
def test_noise_engines_and_problems_work_without_the_orchestration(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    offenders = {str(path): imported(path) & FORBIDDEN_IN_PURE for path in files if imported(path) & FORBIDDEN_IN_PURE}
    assert offenders == {}


def test_storage_knows_nothing_of_prefect() -> None:
    assert [path for path in (ROOT / "storage").rglob("*.py") if "prefect" in imported(path)] == []


def test_the_import_scan_sees_an_import() -> None:
    assert {"ast", "pathlib", "pytest"} <= imported(Path(__file__))
