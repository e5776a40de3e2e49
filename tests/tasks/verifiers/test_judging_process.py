"""The judging process has limits, ends with its parent, and serves any number of threads."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.patience import PATIENCE_S, no_hang, wait_for
from thickets.storage.errors import TransientError
from thickets.tasks.verifiers.expressions import process as module
from thickets.tasks.verifiers.expressions.process import JudgingProcess

# Takes more than a tenth of a second of processor time: roots in roots in roots.
SLOW = "sqrt(sqrt(2) + 3^(1/3) + 7^(1/5)) + sqrt(sqrt(11) + 5^(1/3))"


@pytest.fixture
def judging() -> Iterator[JudgingProcess]:
    process = JudgingProcess()
    yield process
    process.close()


def test_it_starts_when_it_is_needed_and_answers_the_same_question_once(judging: JudgingProcess) -> None:
    assert judging.pid is None
    assert judging.form("sqrt(8)") == "2*sqrt(2)"
    first = judging.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)  # no further answer can come
    assert judging.form("sqrt(8)") == "2*sqrt(2)"
    os.kill(first, signal.SIGCONT)
    assert judging.equal("4^x", "2^(2*x)")
    assert judging.pid == first


def test_an_expression_over_the_processor_time_is_not_read_and_the_next_one_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    judging = JudgingProcess(cpu_s=0.02)
    with caplog.at_level(logging.WARNING, logger="thickets"):
        assert judging.form(SLOW) is None
    [line] = caplog.messages
    assert "more than 0.02 s of processor time for 'sqrt(sqrt(2)" in line
    assert judging.pid is None
    assert JudgingProcess.form(judging, "sqrt(9)") == "3"
    judging.close()


def test_a_process_that_does_not_answer_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    judging = JudgingProcess(wait_s=0.3)
    judging.form("x + 1")
    stopped = judging.pid
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    with caplog.at_level(logging.WARNING, logger="thickets"), no_hang():
        assert judging.form("x + 2") is None
    assert ["no result after 0.3 s" in line for line in caplog.messages] == [True]
    assert not psutil.pid_exists(stopped)
    assert judging.form("x + 3") == "x + 3"
    judging.close()


def test_a_process_that_somebody_kills_is_replaced(judging: JudgingProcess) -> None:
    judging.form("x + 1")
    assert judging.pid is not None
    os.kill(judging.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(judging.pid)] if psutil.pid_exists(judging.pid) else [], timeout=PATIENCE_S)
    assert "x + 3" in (judging.form("x + 2"), judging.form("x + 3"))


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux alone")
def test_the_memory_of_the_process_is_limited(judging: JudgingProcess) -> None:
    assert judging.form("x + 1") == "x + 1"
    assert psutil.Process(judging.pid).rlimit(psutil.RLIMIT_AS) == (module.MEMORY_BYTES, module.MEMORY_BYTES)
    with pytest.raises(TransientError, match="cannot start the process that judges"):
        JudgingProcess(memory_bytes=48 << 20).form("x + 1")


def test_threads_get_their_own_answers(judging: JudgingProcess) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda i: judging.form(f"x + x + {i % 50}"), range(400)))
    assert found == [f"2*x + {i % 50}" if i % 50 else "2*x" for i in range(400)]


def test_a_fork_has_a_process_of_its_own(judging: JudgingProcess) -> None:
    module.PROCESS.form("sqrt(8)")
    parents = module.PROCESS.pid
    child = os.fork()
    if child == 0:
        is_well = module.PROCESS.pid is None and module.PROCESS.form("sqrt(18)") == "3*sqrt(2)"
        os._exit(0 if is_well and module.PROCESS.pid != parents else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert module.PROCESS.form("sqrt(27)") == "3*sqrt(3)"
    assert module.PROCESS.pid == parents


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), 9)", "sys.exit()", "os._exit(0)"])
def test_it_ends_with_its_parent(ending: str) -> None:
    code = f"""
import os, sys
from thickets.tasks.verifiers.expressions.process import PROCESS
PROCESS.form("x + 1")
print(PROCESS.pid, flush=True)
{ending}
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, check=False, timeout=PATIENCE_S
    )
    pid = int(ended.stdout)
    wait_for(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_one_that_cannot_start_says_why() -> None:
    judging = JudgingProcess(memory_bytes=1 << 26)  # too little for Python
    with pytest.raises(TransientError, match="cannot start the process that judges"):
        judging.form("x + 1")
