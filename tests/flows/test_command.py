"""The process of a command: what it imports, when its time begins, how it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from thickets.flows.runtime import clock

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "prefect", "mlflow", "pandas", "scipy.stats", "matplotlib", "numba")
_STEP_S = 1.0  # of a clock that is set right meanwhile


def python(program: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [["--help"], ["runs"], ["show", "latest"], ["run", "no-such-preset"], ["down"]])
def test_a_command_that_computes_nothing_imports_nothing_heavy(command: list[str], tmp_path: Path) -> None:
    """Counted in modules: seconds depend on the machine."""
    program = (
        "import atexit\n"
        f"atexit.register(lambda: print('heavy:', [name for name in {HEAVY} if name in sys.modules]))\n"
        "from thickets.flows.cli.main import main\n"
        "sys.argv[0] = 'thickets'\n"
        "main()"
    )
    done = python(program, *command, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stderr


def test_a_command_ends_with_its_status_after_all_that_others_have_registered() -> None:
    program = (
        "import atexit, threading, time\n"
        "from thickets.flows.cli.process import QuickEnd\n"
        "end = QuickEnd()\n"
        "atexit.register(print, 'cleaned up')\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('a thread ended'))).start()\n"
        "end.status = 3"
    )
    done = python(program)
    assert (done.returncode, done.stdout, done.stderr) == (3, "a thread ended\ncleaned up\n", "")


def test_the_first_session_of_a_command_counts_from_its_start_and_later_ones_from_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock, "_command_began", [])
    monkeypatch.setattr(clock, "_has_session", False)
    assert clock.seconds_of_command(otherwise=7.0) == 7.0  # nobody gave a command: a notebook, a worker
    created = psutil.Process().create_time()
    before = time.monotonic(), time.time() - created
    clock.count_from_command()
    first, seconds, second = clock.session_began(), clock.seconds_of_command(otherwise=7.0), clock.session_began()
    after = time.monotonic(), time.time() - created
    assert before[0] - after[1] - _STEP_S <= first <= after[0] - before[1] + _STEP_S
    assert before[1] - _STEP_S <= seconds <= after[1] + _STEP_S
    assert before[0] <= second <= after[0]


def test_a_warning_of_any_layer_is_a_line_on_standard_error() -> None:
    program = (
        "import logging\n"
        "from thickets.flows.runtime.environment import set_command_line_defaults\n"
        "from thickets.storage.shards import file\n"
        "from thickets.tasks.scoring import onlooker\n"
        "set_command_line_defaults()\n"
        "set_command_line_defaults()\n"
        "file.log.warning('a shard is unreadable')\n"
        "onlooker.log.warning('a tick failed')"
    )
    done = python(program)
    assert (done.stdout, done.stderr) == ("", "a shard is unreadable\na tick failed\n")


@pytest.mark.parametrize(("own", "passed_on"), [(None, None), ("ERROR", "ERROR")])
def test_services_print_what_a_command_does_not_unless_the_user_has_chosen(
    own: str | None, passed_on: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
    monkeypatch.delenv(name, raising=False)
    if own is not None:
        monkeypatch.setenv(name, own)
    program = (
        "import os\n"
        "from thickets.flows.runtime.environment import set_command_line_defaults, without_command_line_defaults\n"
        "set_command_line_defaults()\n"
        "set_command_line_defaults()\n"
        f"print(os.environ[{name!r}], without_command_line_defaults().get({name!r}))"
    )
    assert python(program).stdout.split() == [own or "CRITICAL", str(passed_on)]
