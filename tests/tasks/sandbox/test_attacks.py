"""What a program tries to do to the machine comes to nothing, and what it tries to do to the verdict is wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.isolations import ISOLATIONS, STRONG, usable
from tests.patience import FOR_EVER_S, no_hang, wait_for
from thickets.tasks.sandbox.isolation import strongest, works
from thickets.tasks.sandbox.launch import Isolation
from thickets.tasks.sandbox.run import Bounds, Outcome, run_tests

BOUNDS = Bounds(cpu_s=1, wall_s=5.0, memory_bytes=256 << 20)
ASKS = ["assert f() == 41"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(params=STRONG)
def isolation(request: pytest.FixtureRequest) -> Isolation:
    return usable(request.param)


@pytest.fixture(params=ISOLATIONS)
def any_isolation(request: pytest.FixtureRequest) -> Isolation:
    """Limits alone as well: they do not keep a program from files and processes, but no verdict is worth less."""
    return usable(request.param)


def attempt(body: str, isolation: Isolation) -> Outcome:
    """Run the body of a function that returns "done" where it got what it wanted; whatever it raises is "refused"."""
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    program = f"import os, sys\ndef f():\n    try:\n{lines}\n    except BaseException:\n        return 'refused'\n"
    return run_tests(program, ["assert f() == 'refused'"], isolation=isolation, bounds=BOUNDS)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("secret")
    return path


READS = {
    "a file": "return open({path!r}).read()",
    "the folder": "return os.listdir({folder!r})",
    "a link out of its folder": "os.symlink({path!r}, 'link'); return open('link').read()",
    "the home": "return os.listdir(os.path.expanduser('~root')) and os.listdir({home!r})",
    "a parent's environment": "return open('/proc/{parent}/environ').read()",
    "a parent's memory": "return open('/proc/{parent}/mem', 'rb').read(1)",
    "a file to write": "open('here', 'w').write('x'); return 'done'",
    "a file to write elsewhere": "open({folder!r} + '/planted', 'w').write('x'); return 'done'",
    "a file to delete": "os.unlink({path!r}); return 'done'",
    "another program": "os.execv('/bin/true', ['true'])",
    "a subprocess": "import subprocess; subprocess.run(['true']); return 'done'",
    "a child": "os.fork(); return 'done'",
    "a thread": "import threading; threading.Thread(target=int).start(); return 'done'",
    "signals to the parent": "os.kill(os.getppid(), 9); return 'done'",
    "signals to all": "os.kill(-1, 9); return 'done'",
    "signals to its group": "os.killpg(0, 9); return 'done'",
    "a debugger": "import ctypes; return 'done' if ctypes.CDLL(None).ptrace(16, {parent}, 0, 0) == 0 else 1 / 0",
    "higher limits": "import resource; resource.setrlimit(resource.RLIMIT_CPU, (99, 99)); return 'done'",
    "namespaces": "import ctypes; return 'done' if ctypes.CDLL(None).unshare(0x10000000) == 0 else 1 / 0",
    "memory that no limit counts": "os.memfd_create('x'); return 'done'",
}


@pytest.mark.parametrize("what", READS)
def test_a_program_gets_nothing_that_is_not_its_own(what: str, isolation: Isolation, secret: Path) -> None:
    body = READS[what].format(path=str(secret), folder=str(secret.parent), home=str(Path.home()), parent=os.getpid())
    outcome = attempt(body, isolation)
    assert outcome.passed == (True,), outcome.notes
    assert secret.read_text() == "secret"
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]


def test_a_program_sees_an_environment_of_three_names(isolation: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    program = "import os\ndef f():\n    return sorted(os.environ)"
    # Bubblewrap says where it has put the process.
    outcome = run_tests(
        program, ["assert set(f()) - {'PWD', 'LC_CTYPE'} == {'LANG', 'PATH', 'PYTHONHASHSEED'}"], isolation=isolation
    )
    assert outcome.passed == (True,), outcome.notes


def test_a_program_reaches_no_network(isolation: Isolation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        body = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1).send(b'x')\nreturn 'done'"
        assert attempt(body, isolation).passed == (True,)
        with pytest.raises(TimeoutError):
            server.accept()


AMOUNTS = {
    "memory": "x = []\n    while True: x.append(bytearray(1 << 20))",
    "one great object": "return bytearray(1 << 40)",
    "an endless loop": "while True: pass",
    "endless output": "while True: print('x' * 1000)",
    "endless replies": "import os\n    while True: os.write(3, b'x' * 65536) and os.write(4, b'x' * 65536)",
    "sleeping": "import time; time.sleep(1000)",
    "fork bomb": "import os\n    while True:\n        try: os.fork()\n        except OSError: pass",
    "a number without end": "return 10 ** 10 ** 10",
    "deep recursion": "return f()",
    "a deep value": "x = []\n    for _ in range(100000): x = [x]\n    return x",
    "a large value": "return list(range(10000000))",
    "an endless iterator": "import itertools; return itertools.count()",
    "open files": "x = []\n    while True: x.append(open('/dev/null'))",
}


@pytest.mark.parametrize("what", AMOUNTS)
def test_a_program_that_takes_too_much_is_wrong_in_time(what: str, any_isolation: Isolation) -> None:
    isolation = any_isolation
    if what == "fork bomb" and isolation == "limits":
        pytest.skip("limits alone let a program start others")
    others = len(psutil.pids())
    with no_hang():
        outcome = run_tests(f"def f():\n    {AMOUNTS[what]}", ASKS, isolation=isolation, bounds=BOUNDS)
    assert outcome.passed == (False,)
    assert len(psutil.pids()) < others + 50


SCORES = {
    "leaving before the tests": "import sys\nsys.exit(0)",
    "leaving at once": "import os\nos._exit(0)",
    "leaving in the call": "import sys\ndef f():\n    sys.exit(0)",
    "leaving at once in the call": "import os\ndef f():\n    os._exit(0)",
    "equal to everything": "class Any:\n    def __eq__(self, other): return True\n"
    "    def __ne__(self, other): return False\n"
    "def f():\n    return Any()",
    "a number equal to everything": "class Any(int):\n    def __eq__(self, other): return True\n"
    "    def __bool__(self): return True\n    __hash__ = int.__hash__\ndef f():\n    return Any(7)",
    "a text equal to everything": "class Any(str):\n    def __eq__(self, other): return True\n"
    "    __hash__ = str.__hash__\ndef f():\n    return Any('x')",
    "no assertion fails": "import builtins\nclass Nothing(BaseException):\n"
    "    def __new__(cls, *a): raise SystemExit(0)\n"
    "builtins.AssertionError = Nothing\ndef f():\n    return 7",
    "the verdict by itself": """
import os
for descriptor in range(10):
    try: os.write(descriptor, b'{"passed": [true], "notes": [""]}\\n')
    except OSError: pass
def f(): return 7
""",
    "the verdict for a reply": """
import os
def f():
    for descriptor in range(10):
        try: os.write(descriptor, b'{"value": ["l", {"passed": [true]}]}\\n')
        except OSError: pass
""",
    "what is expected, from other frames": "import sys\ndef f():\n    frame, found = sys._getframe(), None\n"
    "    while frame:\n        for value in frame.f_locals.values():\n"
    "            if value == 41: return 41\n        frame = frame.f_back\n",
    "what is expected, from all objects": "import gc\ndef f():\n    for each in gc.get_objects():\n"
    "        if isinstance(each, dict) and 'tests' in each: return 41\n    return 7",
    "a child that answers": "import os\ndef f():\n    if os.fork() == 0:\n"
    "        import time; time.sleep(60)\n    return 41",
    "no function": "f = 41",
    "no Python": "Sure! Here is the function:",
    "nothing": "",
}


@pytest.mark.parametrize("what", SCORES)
def test_nothing_but_the_value_is_right(what: str, any_isolation: Isolation) -> None:
    if what == "a child that answers" and any_isolation == "limits":
        pytest.skip("limits alone let a program start others, and its value is right")
    outcome = run_tests(SCORES[what], ASKS, isolation=any_isolation, bounds=BOUNDS)
    assert outcome.passed == (False,)
    assert outcome.notes[0]


HELPED = {
    "an argument that the test compares with": (
        "def f(x):\n    x.clear()\n    return []",
        "x = [3, 1]\nassert f(x) == sorted(x)",
    ),
    "an argument that a later line compares with": (
        "def f(x):\n    x.clear()\n    return []",
        "x = [3, 1]\ny = f(x)\nassert y == sorted(x)",
    ),
    "another sorted": ("def sorted(x): return [1, 3]\ndef f(x): return 0", "assert sorted(f([3, 1])) == [1, 3]"),
    "another abs": ("abs = lambda x: 0\ndef f(x): return 0", "assert abs(f(2) - 1.5) < 0.1"),
    "another module": (
        "class math:\n    isclose = staticmethod(lambda *a: True)\ndef f(x): return 0",
        "assert math.isclose(f(2), 1.5)",
    ),
    "another check": ("def check(f): pass\ndef f(): return 7", "check(f)"),
    "another way of calling": (
        "def _for_effect(f): return lambda *a: None\ndef f(): return 7",
        "def own(f):\n    assert f() == 41\nown(f)",
    ),
    "a list that becomes another thing": (
        "import os\ndef f(x):\n    for descriptor in range(10):\n"
        '        try: os.write(descriptor, b\'{"value": null, "after": {"0": ["n"]}}\\n\')\n'
        "        except OSError: pass",
        "x = [1]\nf(x)\nassert type(x) is list and not x",
    ),
    "the tests' own eval": (
        "def f(g): return g('__import__(\"sys\")._getframe(1).f_globals.update(check=print)')",
        "f(eval)\ncheck(f)",
    ),
    "the tests' globals by a function": (
        "def f(g): return g.__globals__.clear()",
        "f(lambda: 1)\nassert f(check) == 1",
    ),
    "a function that is not there": (
        "import os\ndef f():\n    for descriptor in range(10):\n"
        '        try: os.write(descriptor, b\'{"call": -1, "arguments": ["t"], "named": ["t"]}\\n\')\n'
        "        except OSError: pass\n    return 7",
        "assert f() == 41",
    ),
    "too much for a function of the tests": (
        "def f(g):\n    try: g(10 ** 11)\n    except BaseException: pass\n    return 7",
        "assert f(lambda n: 'x' * n) == 41",
    ),
    "a function of the tests without end": (
        "def f(g):\n    while True: g(1)",
        "assert f(lambda n: n) == 41",
    ),
}
CHECK = "import math\ndef check(f):\n    assert f() == 41"


@pytest.mark.parametrize("what", HELPED)
def test_nothing_that_a_test_lends_a_program_helps_it(what: str, any_isolation: Isolation) -> None:
    program, test = HELPED[what]
    outcome = run_tests(program, [test], setup=CHECK, isolation=any_isolation, bounds=BOUNDS)
    assert outcome.passed == (False,)
    assert outcome.notes[0]


def sandboxes() -> set[int]:
    """Processes that run a script of a sandbox, those of this machine's other users included."""
    found = set()
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any("inside.program_main" in word for word in words):
            found.add(process.pid)
    return found


# Long after a test has given up waiting for its end.
SLEEPING = f"import time\ntime.sleep({FOR_EVER_S})"


def test_no_process_outlives_a_program(any_isolation: Isolation) -> None:
    isolation = any_isolation
    before = sandboxes()
    slow = threading.Thread(target=run_tests, args=(SLEEPING, ASKS), kwargs={"isolation": isolation, "bounds": BOUNDS})
    slow.start()
    mine = wait_for(lambda: sandboxes() - before)
    slow.join()
    wait_for(lambda: not mine & sandboxes())


def test_no_process_outlives_who_judges(any_isolation: Isolation) -> None:
    isolation = any_isolation
    before = sandboxes()
    judge = (
        "from thickets.tasks.sandbox.run import run_tests\n"
        + f"run_tests({SLEEPING!r}, {ASKS!r}, isolation={isolation!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", judge], env={**os.environ, "PYTHONPATH": str(ROOT)})
    mine = wait_for(lambda: sandboxes() - before)
    process.kill()
    process.wait()
    wait_for(lambda: not mine & sandboxes())


def test_without_bubblewrap_the_next_strongest_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usable("landlock")
    monkeypatch.setenv("PATH", str(tmp_path))
    works.cache_clear()
    try:
        assert not works("bubblewrap")
        assert strongest() == "landlock"
    finally:
        works.cache_clear()
