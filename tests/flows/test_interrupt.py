"""Ctrl-C and SIGTERM end a process and its children soon, whatever its libraries are at, with one line last."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE_S, wait_for
from thickets.flows.runtime.interrupt import INTERRUPTED, TERMINATED

ROOT = Path(__file__).parents[2]
# Like a library that does not let itself be disturbed, with a child of its own.
_STUBBORN = """
import subprocess, sys, time
from thickets.flows.runtime.interrupt import ends_soon
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
words = [child.pid]
with ends_soon(grace_s=0.3):
    while True:
        try:
            print(*words, flush=True)
            time.sleep(600)
        except BaseException:
            print("noise", file=sys.stderr, flush=True)
"""


@pytest.mark.parametrize(
    ("number", "status", "says"), [(signal.SIGINT, 130, INTERRUPTED), (signal.SIGTERM, 143, TERMINATED)]
)
def test_a_signal_ends_the_process_and_its_children(number: signal.Signals, status: int, says: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _STUBBORN], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status
    assert err.splitlines()[-1] == says
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
