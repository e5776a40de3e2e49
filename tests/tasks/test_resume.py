"""SIGKILL while a process scores: what is finished stays, nothing is done twice, and the shards are the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from tests.patience import wait_for
from thickets.storage.shards.file import list_shards
from thickets.storage.shards.folder import LocalShardFolder
from thickets.tasks.engines import EngineSpec, build_engine
from thickets.tasks.engines.prompts import ValuesTemplate
from thickets.tasks.noise import Perturbation
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.scoring.units import Shard, make_blocks, plan_shards
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.signals.families import MIX
from thickets.tasks.signals.pretraining import made_model
from thickets.tasks.signals.recipe import Pretraining, SignalsConfig
from thickets.tasks.types import Candidate

N, N_BLOCKS = 24, 3
CANDIDATES = [None, *(Candidate(seed, sigma) for seed in range(N // 2) for sigma in (0.05, 0.2))]
QUICK = SignalsConfig(pretraining=Pretraining(families=MIX, steps=40))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_model("quick", QUICK, tmp_path_factory.mktemp("cache"))


def score_what_is_left(model: Path, folder: Path, pause_s: float = 0.0) -> list[str]:
    """Plan as a run does, from what the folder holds, and score that; gives the shards in order."""
    problem = load_problem(ProblemConfig(name="signals"))
    split = draw_splits(problem, selection=4 * N_BLOCKS, validation=1, test=1, seed=0).selection
    blocks = make_blocks(split, problem, ValuesTemplate(), 4)
    shards = LocalShardFolder(folder)
    shards.clean_temporaries()
    left = [shard for shard in plan_shards("selection", len(blocks), CANDIDATES, [], 2) if not shards.holds(shard.id)]
    worker = ScoringWorker(
        lambda: build_engine(EngineSpec("signals", model, Perturbation(), device="cpu")),
        Judge(problem),
        blocks,
        problem.sampling,
        shards,
        shards.verdicts("0" * 64),
    )
    for shard in left:
        worker.score(shard)
        time.sleep(pause_s)
    worker.close()
    return [shard.id for shard in left]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in list_shards(folder)}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in list_shards(folder)}


def test_a_process_that_is_killed_loses_no_finished_shard_and_another_goes_on_to_the_same_bytes(
    model: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    n = len(score_what_is_left(model, whole))
    assert n == len(contents(whole)) == N_BLOCKS * 13
    process = multiprocessing.get_context("spawn").Process(target=score_what_is_left, args=(model, killed, 0.05))
    process.start()
    wait_for(lambda: not process.is_alive() or (killed.is_dir() and len(list_shards(killed)) >= 5), every_s=0.005)
    assert process.is_alive()
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    # As if the kill had come while a shard was being written.
    (killed / ".half.parquet.tmp").write_bytes(b"PAR1")
    before = stamps(killed)
    assert 5 <= len(before) < n
    assert len(score_what_is_left(model, killed)) == n - len(before)
    after = stamps(killed)
    assert {name: after[name] for name in before} == before, "a finished shard was written again"
    assert contents(killed) == contents(whole)
    assert score_what_is_left(model, killed) == []


def test_a_shard_that_another_process_has_written_meanwhile_is_not_scored_again(model: Path, tmp_path: Path) -> None:
    score_what_is_left(model, tmp_path)
    before = stamps(tmp_path)
    problem = load_problem(ProblemConfig(name="signals"))
    folder = LocalShardFolder(tmp_path)
    worker = ScoringWorker(
        lambda: pytest.fail("an engine was built"),
        Judge(problem),
        [],
        problem.sampling,
        folder,
        folder.verdicts("0" * 64),
    )
    for shard in plan_shards("selection", N_BLOCKS, CANDIDATES, [], 2):
        assert isinstance(shard, Shard)
        assert worker.score(shard).units == ()
    assert stamps(tmp_path) == before
