"""SIGKILL at random moments: nothing finished is lost or done twice, and the result is that of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import psutil
import pytest
from prefect.settings import PREFECT_API_URL

from tests.patience import PATIENCE_S, wait_for
from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.results.runs import find_run, list_runs, load_summary, open_scores
from thickets.flows.runtime.interrupt import INTERRUPTED
from thickets.storage.home import Home

ROOT = Path(__file__).parents[2]
SIZE = 150


def start(config_file: Path) -> subprocess.Popen[bytes]:
    return command("run", str(config_file))


def command(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if url := PREFECT_API_URL.value():
        environment["PREFECT_API_URL"] = url
    return subprocess.Popen([sys.executable, "-m", "thickets", *arguments], env=environment, stdout=subprocess.DEVNULL)


def shards(home: Path) -> dict[str, tuple[int, int]]:
    """Finished shards by name: when each was written, and as which file."""
    found = {path.name: path.stat() for path in (home / "shards").glob("*/*.parquet") if path.name[0] != "."}
    return {name: (stat.st_mtime_ns, stat.st_ino) for name, stat in found.items()}


def wait_while_it_runs(
    process: subprocess.Popen[bytes], what: Callable[[], object], patience_s: float = PATIENCE_S
) -> None:
    """Wait for something that must happen before the process ends."""
    wait_for(lambda: what() or process.poll() is not None, patience_s, every_s=0.002)
    assert process.poll() is None, "it ended before it could be killed"


def kill_after(
    process: subprocess.Popen[bytes], home: Path, n_new: int, delay_s: float, patience_s: float = PATIENCE_S
) -> None:
    """Kill once `n_new` further shards are there, and then a random moment later."""
    wanted = len(shards(home)) + n_new
    wait_while_it_runs(process, lambda: len(shards(home)) >= wanted, patience_s)
    time.sleep(delay_s)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.slow
def test_three_kills_change_nothing(config: Callable[..., RunConfig], tmp_path: Path) -> None:
    homes = {name: tmp_path / name for name in ("undisturbed", "killed")}
    for name, home in homes.items():
        sections = {
            "population": {"size": SIZE, "sigmas": [0.05, 0.1, 0.2]},
            "scoring": {"examples_per_block": 12, "candidates_per_shard": 3},
            "storage": {"home": str(home)},
        }
        (tmp_path / f"{name}.yaml").write_text(dump_config(config(**sections)))

    assert start(tmp_path / "undisturbed.yaml").wait() == 0
    moments = random.Random()
    for _ in range(3):
        before = shards(homes["killed"])
        process = start(tmp_path / "killed.yaml")
        kill_after(process, homes["killed"], moments.randint(1, 12), moments.uniform(0, 0.2))
        after = shards(homes["killed"])
        assert {name: after[name] for name in before} == before
        assert list_runs(Home(homes["killed"]))[0].state == "interrupted"
    before = shards(homes["killed"])
    assert start(tmp_path / "killed.yaml").wait() == 0
    after = shards(homes["killed"])
    assert {name: after[name] for name in before} == before, "a finished shard was written again"

    frames = [pl.read_parquet(path) for path in (homes["killed"] / "shards").glob("*/*.parquet")]
    rows = pl.concat(frames).select("candidate_id", "split", "example_id")
    assert not rows.is_duplicated().any(), "something was scored twice"

    folders = {name: find_run(Home(home), "latest") for name, home in homes.items()}
    assert folders["killed"].manifest.read_bytes() == folders["undisturbed"].manifest.read_bytes()
    summaries = {name: load_summary(folder) for name, folder in folders.items()}
    assert summaries["killed"].evaluation == summaries["undisturbed"].evaluation
    answers = {}
    for name, home in homes.items():
        with open_scores(Home(home), folders[name]) as reader:
            answers[name] = reader.query(
                "select candidate_id, split, example_id, answer, correct, completion from completions order by all"
            )
    assert answers["killed"].equals(answers["undisturbed"])


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.slow
def test_kills_among_the_controls_change_nothing(config: Callable[..., RunConfig], tmp_path: Path) -> None:
    homes = {name: tmp_path / name for name in ("undisturbed", "killed")}
    for name, home in homes.items():
        sections = {
            "scoring": {"examples_per_block": 5, "candidates_per_shard": 1},
            "selection": {"k_values": [7]},
            "storage": {"home": str(home)},
        }
        (tmp_path / f"{name}.yaml").write_text(dump_config(config(**sections)))

    assert start(tmp_path / "undisturbed.yaml").wait() == 0
    written = shards(homes["undisturbed"])
    of_controls = {name for name in written if is_control(homes["undisturbed"], name)}
    n_before = sum(stamp < min(written[name] for name in of_controls) for stamp in written.values())
    n_controls = len(written) - n_before
    assert n_controls > 30
    moments = random.Random()
    after: dict[str, tuple[int, int]] = {}
    # Among the wordings on the validation split (the first 8 shards), then among the panels on the test split.
    for n_done in (n_before + moments.randint(1, 4), n_before + moments.randint(12, n_controls - 10)):
        process = start(tmp_path / "killed.yaml")
        kill_after(process, homes["killed"], n_done - len(after), moments.uniform(0, 0.05), patience_s=900)
        before, after = after, shards(homes["killed"])
        assert {name: after[name] for name in before} == before
        assert 0 < len(after.keys() & of_controls) < len(of_controls)
    assert start(tmp_path / "killed.yaml").wait() == 0
    before, after = after, shards(homes["killed"])
    assert {name: after[name] for name in before} == before, "a finished shard was written again"
    assert after.keys() == written.keys()

    folders = {name: find_run(Home(home), "latest") for name, home in homes.items()}
    assert folders["killed"].manifest.read_bytes() == folders["undisturbed"].manifest.read_bytes()
    passing = {"wall_s", "engine", "tracking", "folder"}
    summaries = {name: load_summary(folder).model_dump(exclude=passing) for name, folder in folders.items()}
    assert summaries["killed"] == summaries["undisturbed"]
    frames = {
        name: pl.concat([pl.read_parquet(path) for path in (home / "shards").glob("*/*.parquet")])
        for name, home in homes.items()
    }
    keys = ["candidate_id", "split", "example_id"]
    assert not frames["killed"].select(keys).is_duplicated().any(), "something was scored twice"
    assert frames["killed"].sort(keys).equals(frames["undisturbed"].sort(keys))


def is_control(home: Path, name: str) -> bool:
    [path] = (home / "shards").glob(f"*/{name}")
    return bool(pl.read_parquet(path)["candidate_id"].str.starts_with("base~").any())


@pytest.mark.slow
def test_an_interrupt_ends_the_run_and_all_it_started(config: Callable[..., RunConfig], tmp_path: Path) -> None:
    """As a terminal does it: the signal goes to all of the session; the temporary Prefect server has its own."""
    home, config_file = tmp_path / "home", tmp_path / "config.yaml"
    config_file.write_text(
        dump_config(
            config(
                population={"size": 2000, "sigmas": [0.1]},
                scoring={"candidates_per_shard": 1},
                storage={"home": str(home)},
            )
        )
    )
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    with (tmp_path / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "thickets", "run", str(config_file)],
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    wait_for(lambda: len(shards(home)) >= 3 or process.poll() is not None)
    assert process.poll() is None, (tmp_path / "stderr").read_text()
    started = psutil.Process(process.pid).children(recursive=True)
    assert len(started) == 1
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    assert (tmp_path / "stderr").read_text().splitlines()[-1] == INTERRUPTED
    assert list_runs(Home(home))[0].state == "interrupted"
    _, left = psutil.wait_procs(started, timeout=PATIENCE_S)
    assert left == []
