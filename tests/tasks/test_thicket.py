"""The thicket of small tables with known answers, and of a real database."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.judges import JUDGE
from tests.storage.storage_samples import VERDICTS, write_rows
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.evaluation.thicket import agreement, density, describe, gain_split, oracle, sigma_scores
from thickets.tasks.evaluation.voting import BALLOT_SCHEMA, vote
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.problems.judging import Judge
from thickets.tasks.results.thicket import GainSplit, ThicketDescription
from thickets.tasks.scoring.units import Block
from thickets.tasks.seeds import population
from thickets.tasks.selection.luck import SigmaCounts
from thickets.tasks.selection.ranking import top_k
from thickets.tasks.types import Example

Answers = list[list[str | None]]


def ballots(answers: Answers) -> pl.DataFrame:
    """`answers[expert][example]`, experts by rank; "a" is right."""
    rows = [
        (rank, 1, f"e{example}", answer, answer == "a", 1000 * (answer == "a"))
        for rank, of_expert in enumerate(answers, start=1)
        for example, answer in enumerate(of_expert)
    ]
    return pl.DataFrame(rows, schema=BALLOT_SCHEMA, orient="row")


def test_density_is_the_share_at_or_above_the_margin() -> None:
    points = density([30, 32, 33, 35, 40], base=32, full=50, margins=(0, 2, 3, 6, 16, 17))
    assert [(point.margin_points, point.share.count) for point in points] == [
        (0, 4), (2, 3), (3, 2), (6, 2), (16, 1), (17, 0),
    ]  # fmt: skip
    assert {point.share.n for point in points} == {5}
    assert points[0].share.low < 0.8 < points[0].share.high


@settings(deadline=None)  # the first call imports and compiles
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(0, 40))
def test_density_falls_with_the_margin(counts: list[int], base: int) -> None:
    points = density(counts, base, 40, range(0, 101, 5))
    shares = [point.share.count for point in points]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == sum(count >= base for count in counts)


def test_the_distribution_is_made_of_scores_that_occur() -> None:
    found = sigma_scores(SigmaCounts(0.1, [7, 3, 5, 5, 9, 4], [6] * 5 + [3] + [0] * 4), base_n_correct=5)
    assert found.quantiles == (3, 4, 5, 7, 9)
    assert found.histogram == {3: 1, 4: 1, 5: 2, 7: 1, 9: 1}
    assert (found.n_candidates, found.n_examples, found.base_n_correct) == (6, 10, 5)


def test_an_abstention_agrees_with_nothing_not_even_another() -> None:
    found = agreement(ballots([["a", "b", None, None], ["a", "c", None, "d"], ["a", "b", "d", None]]))
    assert found.n == 4
    assert found.n_same == ((2, 1, 2), (1, 3, 1), (2, 1, 3))
    assert found.mean == pytest.approx((1 + 2 + 1) / 12)


def test_a_single_expert_agrees_with_nobody() -> None:
    assert agreement(ballots([["a", None]])).mean is None


def test_texts_agree_as_far_as_they_are_similar() -> None:
    texts = [["the dog ran", "it rained", None], ["the dog slept", "it rained", "the dog"], ["a cat", None, "a dog"]]
    found = agreement(ballots(texts), Consensus("rougeL"))
    assert (found.n, found.metric) == (3000, "rougeL")
    assert found.n_same == ((2000, 1666, 0), (1666, 3000, 500), (0, 500, 2000))
    assert found.mean == (1666 + 0 + 500) / (3 * 3000)
    assert agreement(ballots([["a"]]), Consensus("rougeL")).mean is None


@settings(deadline=None)  # the first call imports and compiles
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(st.sampled_from(["a", "b", None]), min_size=n, max_size=n), min_size=1, max_size=5)
    )
)
def test_no_vote_beats_the_oracle_and_agreement_is_symmetric(answers: Answers) -> None:
    cast = ballots(answers)
    assert vote(cast, len(answers))["correct"].sum() <= oracle(cast).n_correct
    assert oracle(cast).n_correct == sum("a" in column for column in zip(*answers, strict=True))
    found = agreement(cast)
    for i, row in enumerate(found.n_same):
        for j, count in enumerate(row):
            pairs = zip(answers[i], answers[j], strict=True)
            assert count == found.n_same[j][i] == sum(one is not None and one == other for one, other in pairs)


def test_every_question_has_one_place() -> None:
    table = {  # base, ensemble, what the base's reply names
        "a": (True, True, None), "b": (True, False, None), "c": (False, True, True), "d": (False, True, False),
        "e": (False, True, None), "f": (False, False, True), "g": (False, False, False), "h": (False, True, False),
    }  # fmt: skip
    outcome = pl.DataFrame(
        [(name, base, ensemble) for name, (base, ensemble, _) in table.items()],
        schema=["example_id", "base", "ensemble"],
        orient="row",
    )
    named = {name: row[2] for name, row in table.items() if name != "e"}
    assert gain_split(outcome, named) == GainSplit(
        retained=1, regressed=1, format_fixed=1, reasoning_fixed=2, unclear_fixed=1, still_wrong=2
    )


POPULATION = population(4, [0.001, 0.002], 0)
IDS = POPULATION["candidate_id"].to_list()
TEST = tuple(Example(f"test{i}", f"Which is the largest number: {i}, 50 or 7?", "50") for i in range(4))
OTHERS = {split: tuple(Example(f"{split}{i}", "?", "50") for i in range(5)) for split in ("selection", "validation")}
# Base, then the four candidates in the order of the population; + is right, . abstains.
ANSWERS = {
    "selection": ["+----", "+++--", "+----", "++---", "-----"],
    "validation": ["+----", "++---", "+----", "+++--", "+++++"],
    "test": ["+---", "++--", "+-+-", "+++-", "++++"],
}
REPLIES = ["50", "The 50, of 3 numbers", "2, 50 or 7", "7"]


@pytest.fixture
def book(tmp_path: Path) -> ScoreBook:
    blocks = [Block(split, 0, examples, ("",) * len(examples)) for split, examples in [*OTHERS.items(), ("test", TEST)]]
    for split, answers in ANSWERS.items():
        rows = [
            (who, split, 0, f"{split}{place}", mark == "+", "50" if mark == "+" else "7", 3, "stop", REPLIES[place % 4])
            for who, marks in zip(["base", *IDS], answers, strict=True)
            for place, mark in enumerate(marks)
        ]
        write_rows(tmp_path / "shards", split, rows)
    made = ScoreBook(tmp_path / "scores.duckdb", tmp_path / "shards", "run", POPULATION, blocks, JUDGE, VERDICTS)
    made.aggregate()
    return made


def described(book: ScoreBook, n_ranked: int, k: int) -> ThicketDescription:
    problem = load_problem(ProblemConfig(name="largest_number"))
    with book.open() as store:
        return describe(store, Judge(problem), TEST, top_k(store, n_ranked), k, "majority")


def test_a_run_is_described_from_its_database(book: ScoreBook) -> None:
    found = described(book, n_ranked=4, k=3)
    assert found == described(book, n_ranked=4, k=3)
    assert [row.sigma for row in found.sigmas] == [0.001, 0.002]
    assert sum(row.n_candidates for row in found.sigmas) == 4
    assert {row.base_n_correct for row in found.sigmas} == {1}
    assert (found.best.observed.n_correct, found.best.n_candidates) == (3, 4)
    assert found.correlation.n_candidates == found.correlation.n_population == 4
    # Ranked: +++, ++, +, -, and on validation 2, 3, 1, 5.
    assert found.correlation.value == pytest.approx(-0.4)
    # Votes: ++--, +++-, +-+- give +++-. Of the base's two wrong replies there one names 50 alone, one repeats the list.
    assert found.gains == GainSplit(
        retained=1, format_fixed=1, reasoning_fixed=0, unclear_fixed=1, regressed=0, still_wrong=1
    )
    assert (found.oracle.n_correct, found.oracle.n) == (3, 4)
    assert found.agreement.n_same[0][1] == 3


def test_validation_scores_of_candidates_that_are_not_ranked_do_not_count(book: ScoreBook) -> None:
    found = described(book, n_ranked=3, k=1)
    assert (found.correlation.n_candidates, found.correlation.n_population) == (3, 4)
    assert found.correlation.value == pytest.approx(0.5)


def test_without_the_shards_the_split_is_unclear_but_the_rest_stands(book: ScoreBook, tmp_path: Path) -> None:
    whole = described(book, n_ranked=4, k=3)
    (tmp_path / "shards" / "test.parquet").unlink()
    found = described(book, n_ranked=4, k=3)
    assert found.gains.unclear_fixed == 2
    assert set(found.changed) == set(whole.changed)
    assert found.model_copy(update={"gains": whole.gains, "changed": whole.changed}) == whole
