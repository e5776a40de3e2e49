from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InputError
from storage.shards import SHARD_SCHEMA
from tasks.problems import ProblemConfig, load_problem
from tasks.scoring import Block, ScoringSession, Shard, candidate_id, judge, plan_shards, score_shard
from tasks.types import Candidate, Completion, Example, Sampling

CANDIDATES = [None, *(Candidate(seed, 0.01) for seed in range(9))]
EXAMPLES = tuple(
    Example(f"e{i}", f"Which is the largest number: {i}, {i + 5} or {i + 9}?", str(i + 9)) for i in range(4)
)
BLOCK = Block("selection", 0, EXAMPLES, tuple(example.question for example in EXAMPLES))
PROBLEM = load_problem(ProblemConfig(name="largest_number"))


class Parrot:
    """Answers with the seed it holds; the base says nothing that can be extracted. Breaks when told to."""

    def __init__(self, failures: list[Exception] | None = None) -> None:
        self.held: Candidate | None = None
        self.failures = failures or []
        self.closed = False

    def load(self, candidate: Candidate | None) -> None:
        self.held = candidate

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


def test_finished_units_of_another_split_do_not_count() -> None:
    plan = plan_shards("validation", 1, CANDIDATES, [(candidate_id(None), "selection", 0)], 4)
    assert len(units(plan)) == len(CANDIDATES)


def test_a_shard_is_named_by_its_content() -> None:
    first = Shard("test", 0, tuple(CANDIDATES[:3]))
    assert first.id == Shard("test", 0, tuple(CANDIDATES[:3])).id
    assert len({first.id, Shard("test", 1, first.candidates).id, Shard("test", 0, first.candidates[:2]).id}) == 3


def test_an_abstention_is_wrong_and_has_no_answer() -> None:
    completions = [Completion(text, 1, "length") for text in ("9", "I think 13, no: 14", "", "none")]
    frame = judge("base", BLOCK, completions, PROBLEM)
    assert frame.schema == SHARD_SCHEMA
    assert frame["answer"].to_list() == ["9", "14", None, None]
    assert frame["correct"].to_list() == [True, False, False, False]
    assert frame["completion"].to_list() == [c.text for c in completions]


def test_a_shard_holds_every_answer_of_its_candidates(tmp_path: Path) -> None:
    reports = []
    session = ScoringSession(Parrot, PROBLEM, [BLOCK], Sampling(5), tmp_path, reports.append)
    path = session.score(Shard("selection", 0, (None, Candidate(9, 0.01), Candidate(10, 0.01))))
    frame = pl.read_parquet(path)
    assert frame.height == 12
    assert frame.group_by("candidate_id", maintain_order=True).agg(pl.col("correct").sum()).rows() == [
        ("base", 0),
        (Candidate(9, 0.01).id, 1),
        (Candidate(10, 0.01).id, 1),
    ]
    assert [(r.n_correct, r.n, r.n_tokens) for r in reports] == [(0, 4, 12), (1, 4, 12), (1, 4, 12)]


def test_one_engine_serves_all_shards(tmp_path: Path) -> None:
    built = []
    session = ScoringSession(lambda: built.append(Parrot()) or built[-1], PROBLEM, [BLOCK], Sampling(5), tmp_path)
    for candidate in CANDIDATES[1:4]:
        session.score(Shard("selection", 0, (candidate,)))
    assert len(built) == 1
    session.drop_engine()
    assert built[0].closed


def test_a_failed_engine_is_replaced_and_the_shard_tried_again(tmp_path: Path, prefect_server: None) -> None:
    from prefect import flow

    engines = [Parrot([RuntimeError("device lost")]), Parrot()]
    session = ScoringSession(lambda: engines.pop(0), PROBLEM, [BLOCK], Sampling(5), tmp_path)
    broken = engines[0]

    @flow
    def once() -> Path:
        return score_shard.with_options(retries=1, retry_delay_seconds=0)(session, Shard("selection", 0, (None,)))

    assert pl.read_parquet(once()).height == 4
    assert broken.closed


def test_bad_input_is_not_tried_again(tmp_path: Path, prefect_server: None) -> None:
    from prefect import flow

    builds = []

    def build() -> Parrot:
        builds.append(1)
        raise InputError("engine.device: no such thing")

    session = ScoringSession(build, PROBLEM, [BLOCK], Sampling(5), tmp_path)

    @flow
    def once() -> Path:
        return score_shard.with_options(retries=3, retry_delay_seconds=0)(session, Shard("selection", 0, (None,)))

    with pytest.raises(InputError, match=r"engine\.device"):
        once()
    assert len(builds) == 1
