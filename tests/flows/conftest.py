"""Runs of the tiny model, and the command line, as the flow tests share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.command_line import Result
from tests.flows.publishing import copy_home, published, without_figures
from tests.flows.tiny_run import tiny_sections
from tests.flows.waves_run import waves
from tests.made_once import made_once
from thickets.flows.cli import main as cli
from thickets.flows.config.file import dump_config, parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run, load_summary
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home


@pytest.fixture(scope="session", autouse=True)
def _without_figures() -> Iterator[None]:
    """Draw no figures: half of what a tiny run takes. `published()` has them back."""
    with without_figures():
        yield


def _tiny(model: Path, home: Path, /, **sections: Any) -> RunConfig:
    values = {"name": "tiny", **tiny_sections(model), "storage": {"home": str(home)}}
    return parse_config(values | sections)


@pytest.fixture
def config(tiny_model: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """Make a configuration that runs in a second: `config(population={"size": 8})` replaces whole sections."""
    return lambda **sections: _tiny(tiny_model, tmp_path / "home", **sections)


@pytest.fixture(scope="session")
def _finished_home(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    """The home of the run that `config()` is, with report and figures: one for all tests that begin with it."""

    def run(folder: Path) -> None:
        with published():
            randopt(_tiny(tiny_model, folder / "home"))

    return made_once(tmp_path_factory, "finished", run) / "home"


@pytest.fixture
def finished(_finished_home: Path, config: Callable[..., RunConfig]) -> RunSummary:
    """The finished run of `config()`, in that configuration's home: a copy, which a test may change."""
    home = Home(config().storage.home)
    copy_home(_finished_home, home.root)
    return load_summary(find_run(home, "latest"))


@pytest.fixture(scope="session")
def _merged_home(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    """The home of a run with a merge that stands."""

    def run(folder: Path) -> None:
        section = {"directions": ["best", "z_score", "rank"], "radii": [1.0, 2.0]}
        randopt(parse_config(waves(folder / "home", merge=section)))

    return made_once(tmp_path_factory, "merged", run) / "home"


@pytest.fixture
def merged(_merged_home: Path, tmp_path: Path) -> RunSummary:
    """A run with a merge that stands, in a home of its own: a copy, which a test may change."""
    home = Home(tmp_path / "merged")
    copy_home(_merged_home, home.root)
    return load_summary(find_run(home, "latest"))


@pytest.fixture
def my_yaml(config: Callable[..., RunConfig], tmp_path: Path):
    """Write a configuration file; sections replace those of the tiny run."""

    def write(**sections) -> str:
        path = tmp_path / "my.yaml"
        path.write_text(dump_config(config(**sections)))
        return str(path)

    return write


@pytest.fixture
def thickets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Call the command line in this process; gives exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Result:
        monkeypatch.setattr("sys.argv", ["thickets", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return call
