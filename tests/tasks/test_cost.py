"""What answers take, on a case small enough to be counted by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.storage.storage_samples import write_rows
from thickets.flows.distillation.cost import training_cost
from thickets.storage.scores.database import ScoreStore
from thickets.tasks.distillation.results import Training
from thickets.tasks.engines.prompts import ValuesTemplate
from thickets.tasks.evaluation.cost import AnswerCounter, Worked, timed_as
from thickets.tasks.results.cost import Cost, RowCost, RunCost, flops_of
from thickets.tasks.scoring.units import Block
from thickets.tasks.types import Attempt, Example, Label, Labels

WORDS = "Say {question}"
EXAMPLES = [Example("e0", "q", "1"), Example("e1", "q", "1"), Example("e2", "q", "1")]
# The template counts words: 2 + 3 tokens in the first block, 4 in the second; in the other words one more each.
BLOCKS = [
    Block("selection", 0, tuple(EXAMPLES[:2]), ("a b", "a b c"), {WORDS: ("Say a b", "Say a b c")}),
    Block("selection", 1, tuple(EXAMPLES[2:]), ("a b c d",), {WORDS: ("Say a b c d",)}),
]
GOOD, BAD = "0000000000000001@0.1", "0000000000000002@0.1"
LOT = Attempt(0, 0.7, 0, WORDS)
# Tokens that each generated, by example; 5 + 3 of the candidate that racing dropped after the first block.
GENERATED = {"base": (1, 2, 3), GOOD: (4, 4, 4), BAD: (5, 3, 9), LOT.id: (7, 7, 7)}
POSITIONS = {"base": -1, GOOD: 0, BAD: 1, LOT.id: -2}


@pytest.fixture
def scores(tmp_path: Path):
    rows = [
        (who, "selection", block.index, example.id, True, "1", n_tokens, "stop", "1")
        for who, counts in GENERATED.items()
        for block in BLOCKS
        for example, n_tokens in zip(EXAMPLES, counts, strict=True)
        if example in block.examples
    ]
    seeds = pl.Series([None, 1, 2, None], dtype=pl.UInt64)
    candidates = pl.DataFrame(
        {"candidate_id": list(POSITIONS), "seed": seeds, "sigma": [0.0, 0.1, 0.1, 0.0], "position": POSITIONS.values()}
    )
    examples = pl.DataFrame(
        [
            {"split": "selection", "example_id": each.id, "position": place, "block": place // 2}
            for place, each in enumerate(EXAMPLES)
        ]
    ).with_columns(question=pl.lit("q"), answer=pl.lit("1"))
    with ScoreStore.open(tmp_path / "scores.duckdb", "run") as store:
        store.register(candidates, examples)
        store.ingest([write_rows(tmp_path / "shards", "one", rows)])
        store.record_dropped(pl.DataFrame({"candidate_id": [BAD], "n_blocks": [1]}))
        yield store


def counter(scores: ScoreStore, **given) -> AnswerCounter:
    return AnswerCounter(scores, BLOCKS, ValuesTemplate(), 10, reworded=[LOT], **given)


def test_prompts_are_read_once_per_completion_and_a_flop_is_two_per_parameter_and_token(scores: ScoreStore) -> None:
    base = counter(scores).of("selection", ["base"])
    assert base == Cost(n_generated=6, n_read=9, n_forward=3, flops=2 * 10 * 15)
    assert counter(scores).of("selection", [GOOD]) == Cost(n_generated=12, n_read=9, n_forward=3, flops=2 * 10 * 21)


def test_several_respondents_cost_their_sum_and_each_counts_once(scores: ScoreStore) -> None:
    count = counter(scores)
    both = count.of("selection", ["base"]) + count.of("selection", [GOOD])
    assert count.of("selection", ["base", GOOD, GOOD]) == both
    assert count.of("selection", []) == count.of("test") == Cost()


def test_what_racing_did_not_ask_is_not_paid_for(scores: ScoreStore) -> None:
    assert counter(scores).of("selection", [BAD]) == Cost(n_generated=8, n_read=5, n_forward=2, flops=2 * 10 * 13)


def test_other_words_are_longer_to_read(scores: ScoreStore) -> None:
    assert counter(scores).of("selection", [LOT.id]) == Cost(n_generated=21, n_read=12, n_forward=3, flops=2 * 10 * 33)
    assert counter(scores).of("selection").n_read == 9 + 9 + 5 + 12


def test_the_population_is_candidates_and_base_without_controls(scores: ScoreStore) -> None:
    count = counter(scores)
    assert count.of_population("selection") == count.of("selection", ["base", GOOD, BAD])
    assert count.of("selection").n_forward == count.of_population("selection").n_forward + 3


def test_seconds_are_those_measured_for_as_many_answers(scores: ScoreStore) -> None:
    # Two of the base's three answers were timed; those of candidates are kept together.
    times = {timed_as("selection", "base"): Worked(2, 4.0), timed_as("selection", GOOD): Worked(5, 10.0)}
    assert timed_as("selection", BAD) in times
    count = counter(scores, times=times)
    assert count.of("selection", ["base"]).engine_s == 6.0
    assert count.of("selection", [GOOD, BAD]).engine_s == 2.0 * 5
    assert count.of("selection", [LOT.id]).engine_s == 0.0


def test_labels_to_choose_from_are_read_and_none_is_generated(scores: ScoreStore) -> None:
    labels = Labels(((Label("yes", "yes"), Label("no", "no no")),) * 2, gap=" ")
    blocks = [Block("selection", 0, tuple(EXAMPLES[:2]), ("a b", "a b c"), labels=labels), BLOCKS[1]]
    found = AnswerCounter(scores, blocks, ValuesTemplate(), 10).of("selection", [BAD])
    assert (found.n_generated, found.n_read, found.n_forward) == (0, 5 + 2 * 3, 2)


def test_training_is_three_times_a_pass_forward() -> None:
    assert flops_of(10, n_trained=7) == 3 * flops_of(10, n_read_or_generated=7) == 6 * 10 * 7


def test_the_papers_formulas_are_this_definition() -> None:
    t, n, d, length, p, b, g = 3, 25, 32, 68, 134_515_008, 8, 4
    assert flops_of(p, n_read_or_generated=t * n * d * length) == 2 * t * n * d * length * p  # RandOpt, t = 1 there
    sampled = t * b * g * length
    assert flops_of(p, n_read_or_generated=sampled, n_trained=sampled) == 8 * t * b * g * length * p  # GRPO


def test_a_cost_is_kept_without_its_seconds_and_gets_them_back() -> None:
    row = RowCost(name="ensemble", get=Cost(engine_s=3.0), use=Cost(n_read=8, n_generated=4, engine_s=1.0), n=4)
    whole = RunCost(n_parameters=10, n_active=10, search=Cost(engine_s=2.0), rows=(row,))
    bare = whole.timed({})
    assert set(bare.seconds.values()) == {0.0}
    assert bare.timed(whole.seconds) == whole
    assert row.use_tokens == 3.0
    assert whole.of("ensemble") == row
    assert whole.of("merge") is None


def test_a_training_goes_forward_and_backward_over_its_texts_and_its_teachers_read_them_once() -> None:
    # Five texts of 8 tokens in batches of 2: three steps are a pass, and six are two.
    training = Training(n_rows=5, n_steps=6, best_step=6, curve=(), losses={}, n_tokens=80, train_s=2.0)
    assert training_cost(training, 2, 10) == Cost(
        n_trained=80, n_forward=10, n_backward=10, flops=6 * 10 * 80, engine_s=2.0
    )
    taught = training_cost(training, 2, 10, n_teachers=3)
    assert (taught.n_read, taught.n_forward, taught.n_backward) == (3 * 40, 10 + 3 * 5, 10)
    assert taught.flops == 6 * 10 * 80 + 2 * 10 * 120
    # A pass and a half: 5 texts, then a step of 2.
    assert training_cost(training.model_copy(update={"n_steps": 4}), 2, 10).n_backward == 7
    untrained = training.model_copy(update={"n_steps": 0, "n_tokens": 0})
    assert training_cost(untrained, 2, 10, n_teachers=3).n_read == 0
