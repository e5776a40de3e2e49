from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect import flow

from tests.patience import FOR_EVER_S, PATIENCE_S, no_hang, wait_for
from thickets.storage.errors import InputError, OutOfMemoryError, RunError, TransientError
from thickets.storage.shards.file import VERDICT_SCHEMA, list_shards
from thickets.storage.shards.folder import LocalShardFolder
from thickets.tasks.engines import Engine, EngineSpec
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.scoring.executors import LocalExecutor
from thickets.tasks.scoring.score import score_shards
from thickets.tasks.scoring.units import (
    Block,
    Shard,
    UnitReport,
    candidate_id,
    judged,
    plan_shards,
    shrink_towards_end,
)
from thickets.tasks.scoring.worker import EngineHungError, ScoringWorker
from thickets.tasks.types import Candidate, Completion, Example, Sampling

CANDIDATES = [None, *(Candidate(seed, 0.01) for seed in range(9))]
EXAMPLES = tuple(
    Example(f"e{i}", f"Which is the largest number: {i}, {i + 5} or {i + 9}?", str(i + 9)) for i in range(4)
)
BLOCK = Block("selection", 0, EXAMPLES, tuple(example.question for example in EXAMPLES))
JUDGE = Judge(load_problem(ProblemConfig(name="largest_number")))
VERDICTS = "0" * 64


class Parrot:
    """Answers with the seed it holds; the base says nothing that can be extracted. Breaks when told to."""

    def __init__(self, failures: list[Exception] | None = None) -> None:
        self.held: Candidate | None = None
        self.failures = failures or []
        self.prepared: list[Candidate] = []
        self.closed = False

    def load(self, candidate: Candidate | None) -> None:
        self.held = candidate

    def prepare(self, candidate: Candidate) -> None:
        self.prepared.append(candidate)

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        if self.failures:
            raise self.failures.pop()
        text = "no idea" if self.held is None else f"It is {self.held.seed}."
        return [Completion(text, 3, "stop") for _ in prompts]

    def close(self) -> None:
        self.closed = True


def units(shards: Sequence[Shard]) -> list[tuple[str, str, int]]:
    return [(candidate_id(c), shard.split, shard.block) for shard in shards for c in shard.candidates]


@given(st.integers(1, 4), st.integers(1, 12), st.data())
def test_a_plan_holds_every_unfinished_unit_once(n_blocks: int, per_shard: int, data: st.DataObject) -> None:
    everything = units(plan_shards("selection", n_blocks, CANDIDATES, [], per_shard))
    assert len(everything) == len(set(everything)) == len(CANDIDATES) * n_blocks
    done = data.draw(st.lists(st.sampled_from(everything), unique=True))
    left = plan_shards("selection", n_blocks, CANDIDATES, done, per_shard)
    assert sorted(units(left) + done) == sorted(everything)
    assert all(1 <= len(shard.candidates) <= per_shard for shard in left)


@given(st.integers(1, 3), st.integers(1, 60), st.integers(1, 5), st.integers(1, 12))
def test_the_last_shards_are_small_enough_for_engines_to_end_together(
    n_blocks: int, n_candidates: int, per_shard: int, slots: int
) -> None:
    candidates = [Candidate(seed, 0.01) for seed in range(n_candidates)]
    plan = plan_shards("selection", n_blocks, candidates, [], per_shard)
    shrunk = shrink_towards_end(plan, slots)
    assert units(shrunk) == units(plan)
    sizes = [len(shard.candidates) for shard in shrunk]
    left = [sum(sizes[place:]) for place in range(len(sizes))]
    assert all(size * slots < n + slots for size, n in zip(sizes, left, strict=True))
    n_single = min(slots - 1, len(units(plan)))
    assert sizes[len(sizes) - n_single :] == [1] * n_single
    n_far = sum(n > per_shard * slots for n in left)  # shards that are there as they were planned
    assert shrunk[:n_far] == plan[:n_far]
    if slots == 1:
        assert shrunk == plan


def test_a_stage_of_as_many_candidates_as_engines_keeps_each_of_them_busy() -> None:
    plan = plan_shards("validation", 1, [Candidate(seed, 0.01) for seed in range(64)], [], 4)
    assert len(plan) == 16
    assert [len(shard.candidates) for shard in shrink_towards_end(plan, slots=128)] == [1] * 64
    assert [len(shard.candidates) for shard in shrink_towards_end(plan, slots=4)][-9:] == [4, 3, 1, 2, 2, 1, 1, 1, 1]


def test_finished_units_of_another_split_do_not_count() -> None:
    plan = plan_shards("validation", 1, CANDIDATES, [(candidate_id(None), "selection", 0)], 4)
    assert len(units(plan)) == len(CANDIDATES)


def test_a_shard_is_named_by_its_content() -> None:
    first = Shard("test", 0, tuple(CANDIDATES[:3]))
    assert first.id == Shard("test", 0, tuple(CANDIDATES[:3])).id
    assert len({first.id, Shard("test", 1, first.candidates).id, Shard("test", 0, first.candidates[:2]).id}) == 3


def test_an_abstention_is_wrong_and_has_no_answer() -> None:
    completions = [Completion(text, 1, "length") for text in ("9", "I think 13, no: 14", "", "none")]
    frame = judged("base", BLOCK, completions, JUDGE)
    assert frame.drop("completion").schema == VERDICT_SCHEMA
    assert frame["answer"].to_list() == ["9", "14", None, None]
    assert frame["correct"].to_list() == [True, False, False, False]
    assert frame["completion"].to_list() == [c.text for c in completions]


def worker(folder: Path, build: Callable[[], Engine] = Parrot, **options: Any) -> ScoringWorker:
    shards = LocalShardFolder(folder)
    return ScoringWorker(
        build, options.pop("judge", JUDGE), [BLOCK], Sampling(5), shards, shards.verdicts(VERDICTS), **options
    )


def one_shard_each(candidates: Sequence[Candidate | None]) -> list[Shard]:
    return [Shard("selection", 0, (candidate,)) for candidate in candidates]


def run(
    executor: LocalExecutor, shards: Sequence[Shard], retries: int = 0, on_tick: Callable[[], None] | None = None
) -> None:
    """Score in a flow, as Prefect wants its tasks."""

    @flow
    def scoring() -> None:
        score_shards(executor, shards, retries=retries, on_tick=on_tick, tick_every_s=0.001)

    try:
        scoring()
    finally:
        executor.close()


def test_a_shard_holds_every_answer_of_its_candidates(tmp_path: Path) -> None:
    told: list[UnitReport] = []
    report = worker(tmp_path, on_unit=told.append).score(
        Shard("selection", 0, (None, Candidate(9, 0.01), Candidate(10, 0.01)))
    )
    assert LocalShardFolder(tmp_path).read(report.shard_id).height == 12
    frame = LocalShardFolder(tmp_path).verdicts(VERDICTS).read(report.shard_id)
    assert frame.height == 12
    assert frame.group_by("candidate_id", maintain_order=True).agg(pl.col("correct").sum()).rows() == [
        ("base", 0),
        (Candidate(9, 0.01).id, 1),
        (Candidate(10, 0.01).id, 1),
    ]
    assert list(report.units) == told
    assert [(r.n_correct, r.n, r.n_tokens) for r in told] == [(0, 4, 12), (1, 4, 12), (1, 4, 12)]


def test_a_shard_that_is_there_is_not_scored_again(tmp_path: Path) -> None:
    shard = Shard("selection", 0, (None,))
    worker(tmp_path).score(shard)
    untouched = worker(tmp_path, build=lambda: pytest.fail("an engine was built"))
    assert untouched.score(shard).units == ()


def test_one_engine_serves_all_shards_and_hears_who_comes_next(tmp_path: Path) -> None:
    built: list[Parrot] = []
    scorer = worker(tmp_path, build=lambda: built.append(Parrot()) or built[-1])
    scorer.score(Shard("selection", 0, tuple(CANDIDATES[1:4])))
    scorer.score(Shard("selection", 0, (CANDIDATES[4],)))
    assert len(built) == 1
    assert built[0].prepared == CANDIDATES[2:4]
    scorer.close()
    assert built[0].closed


@pytest.mark.usefixtures("prefect_server")
def test_a_tick_that_fails_does_not_end_the_scoring(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ticks: list[int] = []

    class Waiting(Parrot):
        def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
            wait_for(lambda: len(ticks) >= 2, every_s=0.001)
            return super().generate(prompts, sampling)

    def locked() -> None:
        ticks.append(1)
        raise TransientError("scores.duckdb is in use by another process")

    run(LocalExecutor(worker(tmp_path, Waiting)), one_shard_each(CANDIDATES[:3]), on_tick=locked)
    assert len(list_shards(tmp_path)) == 3
    assert len(ticks) >= 2
    assert caplog.text.count("the run goes on: scores.duckdb is in use by another process") == 1


@pytest.mark.usefixtures("prefect_server")
def test_shards_are_handed_out_while_a_tick_takes_its_time(tmp_path: Path) -> None:
    """The first tick ends when all shards are written: on the thread that hands them out, it would wait for ever."""
    begun, found = threading.Event(), []

    class Waiting(Parrot):
        def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
            assert begun.wait(PATIENCE_S)
            return super().generate(prompts, sampling)

    def slow() -> None:
        begun.set()
        wait_for(lambda: len(list_shards(tmp_path)) >= 5)
        found.append(len(list_shards(tmp_path)))

    run(LocalExecutor(worker(tmp_path, Waiting)), one_shard_each(CANDIDATES[:5]), on_tick=slow)
    assert found[0] == 5


def test_the_engines_thread_makes_no_text(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tokens become text on the thread that scores the shard, and are the same text."""
    decoding: list[str] = []

    def build() -> TransformersEngine:
        engine = TransformersEngine(EngineSpec("transformers", tiny_model, Perturbation(), device="cpu"))
        decode = engine._tokenizer.decode

        def told(*args: Any, **options: Any) -> str:
            decoding.append(threading.current_thread().name)
            return str(decode(*args, **options))

        monkeypatch.setattr(engine._tokenizer, "decode", told)
        return engine

    scorer = worker(tmp_path, build)
    shard = Shard("selection", 0, (None, Candidate(1, 0.1)))
    scorer.score(shard)
    scorer.close()
    assert set(decoding) == {threading.current_thread().name}
    assert len(decoding) == 8
    alone = build()
    texts = []
    for candidate in shard.candidates:
        alone.load(candidate)
        texts += [completion.text for completion in alone.generate(BLOCK.prompts, Sampling(5))]
    assert LocalShardFolder(tmp_path).read(shard.id)["completion"].to_list() == texts


@pytest.mark.usefixtures("prefect_server")
def test_the_engine_goes_on_while_answers_are_judged_and_written(tmp_path: Path) -> None:
    """Writing waits here until the engine has begun the next shard: in lock-step it would wait for ever."""
    begun = [threading.Event() for _ in range(3)]

    class Announcing(Parrot):
        def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
            begun[self.held.seed].set()
            return super().generate(prompts, sampling)

    class SlowFolder(LocalShardFolder):
        def write(self, shard_id: str, frame: pl.DataFrame) -> None:
            seed = int(frame["candidate_id"][0].partition("@")[0], 16)
            assert seed == 2 or begun[seed + 1].wait(PATIENCE_S), "the engine waited for the writer"
            super().write(shard_id, frame)

    folder = SlowFolder(tmp_path)
    scorer = ScoringWorker(Announcing, JUDGE, [BLOCK], Sampling(5), folder, folder.verdicts(VERDICTS))
    run(LocalExecutor(scorer), one_shard_each([Candidate(seed, 0.01) for seed in range(3)]))
    assert len(list_shards(tmp_path)) == 3


@pytest.mark.usefixtures("prefect_server")
def test_a_failed_engine_is_replaced_and_the_shard_tried_again(tmp_path: Path) -> None:
    engines = [Parrot([RuntimeError("device lost")]), Parrot()]
    broken = engines[0]
    run(LocalExecutor(worker(tmp_path, build=lambda: engines.pop(0))), one_shard_each([None]), retries=1)
    assert pl.read_parquet(list_shards(tmp_path)[0]).height == 4
    assert broken.closed


@pytest.mark.usefixtures("prefect_server")
class Movable(Parrot):
    """Takes another base where it is told so."""

    def __init__(self, *, takes: bool) -> None:
        super().__init__()
        self.takes, self.bases = takes, list[Path]()

    def rebase(self, model_path: Path) -> bool:
        self.bases.append(model_path)
        return self.takes


@pytest.mark.parametrize("engine", [Movable(takes=True), Movable(takes=False), Parrot()], ids=["moves", "no", "never"])
def test_an_engine_that_can_have_another_base_goes_on_and_any_other_is_replaced(tmp_path: Path, engine: Parrot) -> None:
    scorer, next_one = worker(tmp_path, build=lambda: engine), Parrot()
    one, other, last = one_shard_each([Candidate(seed, 0.01) for seed in range(3)])
    scorer.score(one)
    scorer.rebase(lambda: next_one, Path("other"))
    assert not engine.closed  # until something is asked
    scorer.score(other)
    scorer.score(last)
    moved = isinstance(engine, Movable) and engine.takes
    assert engine.closed is not moved
    assert (engine if moved else next_one).held == Candidate(2, 0.01)
    if isinstance(engine, Movable):
        assert engine.bases == [Path("other")]
    scorer.close()


def test_bad_input_is_not_tried_again_and_nothing_more_is_started(tmp_path: Path) -> None:
    builds = []

    def build() -> Parrot:
        builds.append(1)
        raise InputError("engine.device: no such thing")

    with pytest.raises(InputError, match=r"engine\.device"):
        run(LocalExecutor(worker(tmp_path, build=build)), one_shard_each(CANDIDATES), retries=3)
    assert len(builds) <= 2  # one under way when the first failed


def test_a_cancelled_worker_generates_nothing_more(tmp_path: Path) -> None:
    scorer = worker(tmp_path)
    scorer.cancel()
    with pytest.raises(RunError, match="cancelled"):
        scorer.score(Shard("selection", 0, (None,)))
    assert list_shards(tmp_path) == []


def test_cancelling_does_not_wait_for_the_unit_that_the_engine_is_at(tmp_path: Path) -> None:
    begun, over = threading.Event(), threading.Event()

    class Slow(Parrot):
        def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
            begun.set()
            assert over.wait(FOR_EVER_S)
            return super().generate(prompts, sampling)

    built: list[Slow] = []
    scorer = worker(tmp_path, build=lambda: built.append(Slow()) or built[-1])
    with ThreadPoolExecutor(1) as caller:
        scoring = caller.submit(scorer.score, Shard("selection", 0, (None,)))
        try:
            assert begun.wait(PATIENCE_S)
            scorer.cancel()
            with pytest.raises(RunError, match="cancelled"):
                scoring.result(PATIENCE_S)
            scorer.close()
            assert not built[0].closed
        finally:
            over.set()  # only now is the engine let go of
    wait_for(lambda: built[0].closed)
    assert list_shards(tmp_path) == []


@pytest.mark.usefixtures("prefect_server")
def test_a_passing_fault_is_tried_again(tmp_path: Path) -> None:
    scorer = worker(tmp_path, build=lambda: Parrot([TransientError("the server restarts")]))
    run(LocalExecutor(scorer), one_shard_each([None]), retries=1)
    assert pl.read_parquet(list_shards(tmp_path)[0]).height == 4


def test_answers_that_come_as_the_wait_for_them_runs_out_are_not_a_time_out(tmp_path: Path) -> None:
    class Late(Future):
        def result(self, timeout: float | None = None) -> str:
            if timeout is not None:
                self.set_result("answers")
                raise TimeoutError
            return super().result()

    assert worker(tmp_path)._wait(Late()) == "answers"


@pytest.mark.usefixtures("prefect_server")
def test_an_engine_that_hangs_ends_the_run_and_is_not_waited_for(tmp_path: Path) -> None:
    over = threading.Event()

    class Hanging(Parrot):
        def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
            if self.held == Candidate(3, 0.01):
                over.wait(FOR_EVER_S)
            return super().generate(prompts, sampling)

    def build() -> Parrot:
        time.sleep(3.5)  # longer than a unit may take
        return Hanging()

    scorer = worker(tmp_path, build=build, unit_timeout_s=3.0)  # on a busy machine a unit that does not hang takes one
    told = pytest.raises(EngineHungError, match=r"within 3 s \(scoring\.unit_timeout_s.*engine\.replicas: 1, a process")
    try:
        with no_hang(PATIENCE_S), told:
            # Two are under way at a time, in any order; the one that hangs begins when one of them is finished.
            run(LocalExecutor(scorer), one_shard_each([Candidate(seed, 0.01) for seed in (1, 5, 3)]), retries=3)
    finally:
        over.set()
    assert list_shards(tmp_path), "what is finished stays"


def test_what_half_an_engine_held_is_free_before_the_next_one_is_built(tmp_path: Path) -> None:
    """The error is kept for its story, and its frames would keep a base copy with it."""

    class Gigabytes:
        pass

    held: list[weakref.ref[Gigabytes]] = []

    def build() -> Parrot:
        base = Gigabytes()
        held.append(weakref.ref(base))
        raise MemoryError

    scoring = worker(tmp_path, build)
    with pytest.raises(OutOfMemoryError, match=r"lower engine\.batch_size") as error:
        scoring.score(one_shard_each([None])[0])
    scoring.close()
    assert held[0]() is None
    assert isinstance(error.value.__cause__, MemoryError)
