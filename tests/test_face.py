"""`import thickets`: what it offers, that it costs nothing, and that every docstring's example is true."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import thickets
from tests.patience import PATIENCE_S

# In this order in one folder: a search leaves the run that the others open.
STORY = [
    *(
        "noise",
        "Candidate",
        "Problem",
        "Engine",
        "load_config",
        "RunConfig",
        "estimate",
        "check",
        "judge",
        "search",
        "list_runs",
        "open_run",
    ),
    *("Run", "RunSummary", "ask", "evaluate", "materialize", "distill", "promote", "rescore", "compare", "regimes"),
    *("ThicketsError", "InputError", "RunError"),
]
HEAVY = ("torch", "prefect", "mlflow", "polars", "numpy", "pydantic", "duckdb", "ray", "rich", "transformers")


def test_every_name_is_in_the_story() -> None:
    assert sorted(STORY) == sorted(thickets.__all__)
    assert set(thickets.__all__) <= set(dir(thickets))


@pytest.mark.parametrize("name", STORY)
def test_every_name_has_a_docstring_with_an_example(name: str) -> None:
    text = inspect.getdoc(getattr(thickets, name))
    assert text
    assert ">>> " in text


def test_the_import_loads_and_starts_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, threading, thickets\n"
        f"loaded = [name for name in sys.modules if name in {HEAVY} or name.startswith('thickets.')]\n"
        "print(loaded, threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout.strip() == "[] 1"
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        _ = thickets.serach


def test_it_is_typed() -> None:
    assert (Path(thickets.__file__).parent / "py.typed").is_file()


@pytest.mark.slow
def test_the_examples_are_true(
    tiny_model: Path, tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").symlink_to(tiny_model)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THICKETS_HOME", raising=False)
    # As on most machines: vLLM takes seconds to start, and has no attention for heads as small as these.
    monkeypatch.setattr("thickets.tasks.engines.vllm.is_available", lambda device_type: False)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    for name in STORY:
        text = inspect.getdoc(getattr(thickets, name)) or ""
        runner.run(parser.get_doctest(text, {}, name, None, None), out=said.append)
    assert said == []
    assert runner.summarize(verbose=False).attempted > len(STORY)
