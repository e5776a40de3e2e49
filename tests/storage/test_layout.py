"""The home folder: names stay inside it, an unwritable one is refused, a run has one process."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from thickets.storage.errors import InputError, RunError
from thickets.storage.holder import Holder
from thickets.storage.home import Home, model_cache
from thickets.storage.locks import is_held

HOLD = """
import sys
from pathlib import Path
from thickets.storage.home import Home
with Home(Path(sys.argv[1])).run_lock("r1"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", "x" * 129, "a\n"])
def test_ids_that_would_leave_the_home_are_refused(tmp_path, name):
    home = Home(tmp_path)
    with pytest.raises(InputError, match="cannot name a folder"):
        home.run(name)
    with pytest.raises(InputError, match="cannot name a folder"):
        home.shards(name)


def test_unwritable_home_names_the_field(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match=r"storage\.home: cannot write to .*file/home: "):
        Home(file / "home").writable()


def test_writable_leaves_nothing_behind(tmp_path):
    assert not list(Home(tmp_path / "new").writable().root.iterdir())


def test_second_holder_of_a_run_is_told_the_process(tmp_path, python):
    process = python(HOLD, tmp_path)
    assert process.stdout.readline() == "held\n"
    with (
        pytest.raises(RunError, match=rf"^run r1 is already in progress \(process {process.pid}\)$"),
        Home(tmp_path).run_lock("r1"),
    ):
        pass
    with Home(tmp_path).run_lock("r2"):
        pass
    process.communicate()


def test_killed_process_lets_go_of_its_run(tmp_path, python):
    process = python(HOLD, tmp_path)
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Home(tmp_path).run_lock("r1") as folder:
        assert folder.run_id == "r1"


def test_run_lock_is_free_again_after_the_block_and_after_an_error(tmp_path):
    home = Home(tmp_path)
    with pytest.raises(ZeroDivisionError), home.run_lock("r"):
        raise ZeroDivisionError
    with home.run_lock("r"), pytest.raises(RunError, match="in progress"), home.run_lock("r"):
        pass


def test_model_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("THICKETS_CACHE", str(tmp_path))
    assert model_cache() == tmp_path
    monkeypatch.delenv("THICKETS_CACHE")
    assert model_cache().name == "thickets"
    assert isinstance(model_cache(), Path)


def test_looking_whether_a_run_is_in_progress_writes_nothing(tmp_path, python):
    home = Home(tmp_path)
    assert not home.is_locked("r1")
    assert not list(tmp_path.iterdir())
    process = python(HOLD, tmp_path)
    process.stdout.readline()
    home.run("r1").lock.chmod(0o444)
    before = home.run("r1").lock.stat().st_mtime_ns
    assert home.is_locked("r1")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not home.is_locked("r1")
    assert home.run("r1").lock.stat().st_mtime_ns == before


def test_a_lock_that_cannot_be_read_is_neither_held_nor_free(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "a")
    assert is_held(tmp_path / "a") is None
    assert is_held(tmp_path / "absent" / "run.lock") is False


def test_a_holder_on_another_machine_is_named_and_never_taken_for_gone(tmp_path):
    home = Home(tmp_path)
    here = Holder.this()
    with home.run_lock("r") as folder:
        folder.lock.write_text(str(replace(here, pid=2**22 + 1, host="elsewhere")))
        with pytest.raises(RunError, match=r"in progress \(process 4194305 on elsewhere\)$"), home.run_lock("r"):
            pass


def test_only_a_process_of_this_machine_can_be_known_to_be_gone(monkeypatch):
    monkeypatch.setattr("thickets.storage.holder._boot_id", lambda: "now")  # macOS has none
    here = Holder.this()
    dead = replace(here, pid=2**22 + 1)  # beyond the largest pid there is
    assert Holder.parse(str(here)) == here
    assert not here.is_gone
    assert dead.is_gone
    assert not replace(dead, host="elsewhere").is_gone
    assert not replace(dead, space="pid:[another container]").is_gone
    assert replace(here, boot="an-earlier-one").is_gone
    assert here.is_on_this_machine
    assert replace(here, boot="an-earlier-one").is_on_this_machine
    assert replace(here, host="a-container-beside-this-one").is_on_this_machine
    assert not replace(here, host="elsewhere", boot="another").is_on_this_machine
    assert Holder.parse("123") == Holder(123)
    assert Holder.parse("") is None
    assert Holder.parse("who knows") is None


def test_who_shares_the_answers_of_a_run(tmp_path):
    home = Home(tmp_path)
    assert home.sharers("mine", "f" * 64) == []
    for name, fingerprint, has_scores in (
        ("mine", "f", True),
        ("finished", "f", True),
        ("running", "f", False),
        ("refused", "f", False),
        ("of-others", "e", True),
    ):
        folder = home.run(name).create()
        folder.fingerprint.write_text(fingerprint * 64 + "\n")
        if has_scores:
            folder.scores.touch()
    (home.runs / "a file").touch()
    home.run("unborn").create()
    with home.run_lock("running"):
        assert home.sharers("mine", "f" * 64) == ["finished", "running"]
    assert home.sharers("mine", "f" * 64) == ["finished"]
