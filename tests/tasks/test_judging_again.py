"""Completions are judged by whoever finds them without verdicts, and generated once whatever a verifier does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest

from tests.judges import JUDGE
from thickets.storage.errors import InputError
from thickets.storage.shards.file import VERDICT_SCHEMA, list_shards
from thickets.storage.shards.folder import LocalShardFolder
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.problems.judging import Judge, Verdict
from thickets.tasks.scoring.units import Block, Shard, candidate_id
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.seeds import candidates_of, population
from thickets.tasks.types import Candidate, Completion, Example, Sampling

VERDICTS, OTHERWISE = "0" * 64, "1" * 64
BLOCKS = [
    Block(
        "selection", index, tuple(Example(f"e{index}{i}", f"{i} or {i + 9}?", str(i + 9)) for i in range(3)), ("",) * 3
    )
    for index in range(2)
]
POPULATION = population(3, [0.1], 0)
EVERYBODY = (None, *candidates_of(POPULATION))


class Counting:
    """Answers 9, 10 or 11, by the candidate; counts how often it is asked."""

    n_asked = 0

    def load(self, candidate: Candidate | None) -> None:
        self.text = f"It is {9 + (candidate.seed % 3 if candidate else 0)}."

    def prepare(self, candidate: Candidate) -> None: ...

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        self.n_asked += 1
        return [Completion(self.text, 4, "stop") for _ in prompts]

    def close(self) -> None: ...


class Refusing(Judge):
    """A judge that raises, as a user's function may."""

    def __init__(self) -> None:
        super().__init__(JUDGE.problem)

    def judge(self, texts: Sequence[str], examples: Sequence[Example]) -> list[Verdict]:
        raise InputError("planted")


def no_engine() -> Counting:
    pytest.fail("an engine was built")


def worker(
    folder: Path, build: Callable[[], Counting], judge: Judge = JUDGE, verdicts: str = VERDICTS
) -> ScoringWorker:
    shards = LocalShardFolder(folder)
    return ScoringWorker(build, judge, BLOCKS, Sampling(5), shards, shards.verdicts(verdicts))


def book_of(root: Path, name: str = "book", blocks: Sequence[Block] = BLOCKS, verdicts: str = VERDICTS) -> ScoreBook:
    return ScoreBook(root / name / "scores.duckdb", root / "shards", "run", POPULATION, blocks, JUDGE, verdicts)


def verdict_files(root: Path, verdicts: str = VERDICTS) -> dict[str, Path]:
    folder = LocalShardFolder(root / "shards").verdicts(verdicts)
    assert isinstance(folder, LocalShardFolder)
    return {path.stem: path for path in list_shards(folder.path)}


@pytest.fixture
def scored(tmp_path: Path) -> list[Shard]:
    """Everything is generated and judged."""
    shards = [Shard("selection", block.index, EVERYBODY[place : place + 2]) for block in BLOCKS for place in (0, 2)]
    scorer = worker(tmp_path / "shards", Counting)
    for shard in shards:
        scorer.score(shard)
    scorer.close()
    return shards


def test_where_judging_fails_the_completions_stay_and_are_judged_at_the_next_attempt(tmp_path: Path) -> None:
    shard, engine, told = Shard("selection", 0, EVERYBODY[:2]), Counting(), []
    failing = worker(tmp_path / "shards", lambda: engine, Refusing())
    failing._on_unit = told.append
    with pytest.raises(InputError, match="planted"):
        failing.score(shard)
    failing.close()
    assert engine.n_asked == 2
    assert not told
    assert not verdict_files(tmp_path)
    with pytest.raises(InputError, match="planted"):
        worker(tmp_path / "shards", no_engine, Refusing()).score(shard)
    assert worker(tmp_path / "shards", no_engine).score(shard).units == ()
    [path] = verdict_files(tmp_path).values()
    assert pl.read_parquet(path).schema == VERDICT_SCHEMA


def test_what_the_driver_judges_is_what_a_worker_judges(tmp_path: Path, scored: list[Shard]) -> None:
    by_worker = {name: path.read_bytes() for name, path in verdict_files(tmp_path).items()}
    assert by_worker.keys() == {shard.id for shard in scored}
    for path in verdict_files(tmp_path).values():  # as if a kill had come between the two files
        path.unlink()
    done = book_of(tmp_path).aggregate()
    assert done.height == len(EVERYBODY) * len(BLOCKS)
    assert {name: path.read_bytes() for name, path in verdict_files(tmp_path).items()} == by_worker


def test_another_judgement_lies_beside_the_first_and_leaves_it_alone(tmp_path: Path, scored: list[Shard]) -> None:
    before = {path: path.stat().st_mtime_ns for path in verdict_files(tmp_path).values()}
    assert book_of(tmp_path, verdicts=OTHERWISE).aggregate().height == len(EVERYBODY) * len(BLOCKS)
    assert verdict_files(tmp_path, OTHERWISE).keys() == verdict_files(tmp_path).keys()
    assert {path: path.stat().st_mtime_ns for path in verdict_files(tmp_path).values()} == before


def test_verdicts_without_their_completions_do_not_count(tmp_path: Path, scored: list[Shard]) -> None:
    gone, broken, *_ = sorted(list_shards(tmp_path / "shards"))
    gone.unlink()
    broken.write_bytes(broken.read_bytes()[:-20])
    done = book_of(tmp_path).aggregate()
    assert done.height == len(EVERYBODY) * len(BLOCKS) - 4
    assert broken.with_name(f"{broken.name}.broken").exists()
    engine = Counting()
    again = worker(tmp_path / "shards", lambda: engine)
    for shard in scored:
        again.score(shard)
    again.close()
    assert engine.n_asked == 4
    assert book_of(tmp_path, "later").aggregate().height == len(EVERYBODY) * len(BLOCKS)


def test_an_unreadable_shard_without_verdicts_is_scored_again(tmp_path: Path, scored: list[Shard]) -> None:
    path = sorted(list_shards(tmp_path / "shards"))[0]
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\0" * (len(content) - 8) + content[-4:])  # its end is there
    verdict_files(tmp_path)[path.stem].unlink()
    assert book_of(tmp_path).aggregate().height == len(EVERYBODY) * len(BLOCKS) - 2
    assert path.with_name(f"{path.name}.broken").exists()


def test_an_unreadable_file_of_verdicts_is_judged_again_at_once(tmp_path: Path, scored: list[Shard]) -> None:
    path = verdict_files(tmp_path)[scored[0].id]
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert book_of(tmp_path).aggregate().height == len(EVERYBODY) * len(BLOCKS)
    assert path.read_bytes() == whole


def test_shards_of_other_questions_are_left_as_they_are(tmp_path: Path, scored: list[Shard]) -> None:
    for path in verdict_files(tmp_path).values():
        path.unlink()
    done = book_of(tmp_path, blocks=BLOCKS[:1]).aggregate()
    assert done.rows() == [(candidate_id(who), "selection", 0) for who in EVERYBODY]
    assert verdict_files(tmp_path).keys() == {shard.id for shard in scored if shard.block == 0}


def test_a_flipped_byte_in_a_shard_that_was_counted_makes_its_units_undone(
    tmp_path: Path, scored: list[Shard], caplog: pytest.LogCaptureFixture
) -> None:
    everything = len(EVERYBODY) * len(BLOCKS)
    assert book_of(tmp_path).aggregate().height == everything
    path = sorted(list_shards(tmp_path / "shards"))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    assert book_of(tmp_path).aggregate().height == everything - 2
    assert f"{path.name} is unreadable or damaged" in caplog.text
    assert book_of(tmp_path).aggregate().height == everything - 2, "also after a kill that came in between"
    engine = Counting()
    again = worker(tmp_path / "shards", lambda: engine)
    for shard in scored:
        again.score(shard)
    again.close()
    assert engine.n_asked == 2
    assert path.read_bytes() == whole
    assert book_of(tmp_path).aggregate().height == everything


def test_a_worker_scores_a_damaged_shard_again(tmp_path: Path, scored: list[Shard]) -> None:
    path = tmp_path / "shards" / f"{scored[0].id}.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    engine = Counting()
    again = worker(tmp_path / "shards", lambda: engine)
    assert len(again.score(scored[0]).units) == 2
    again.close()
    assert path.read_bytes() == whole
