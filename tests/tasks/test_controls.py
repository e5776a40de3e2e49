"""Controls: who is asked, what guessing reaches, and how they are compared, on answers that are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.judges import JUDGE
from tests.storage.storage_samples import VERDICTS, write_rows
from thickets.storage.errors import RunError
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.evaluation.controls import (
    Controls,
    Guess,
    Panel,
    attempts,
    best_guess,
    minus_chance,
    random_experts,
    self_consistency,
    weight_average,
)
from thickets.tasks.evaluation.ensemble import evaluate
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.results.evaluation import Control
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.scoring.units import Block, candidate_id, prompts_of, sampling_of, weights_of
from thickets.tasks.seeds import candidates_of, population
from thickets.tasks.selection.ranking import top_k
from thickets.tasks.statistics import accuracy, minus_expectation, paired_difference
from thickets.tasks.types import Attempt, Average, Candidate, Example, Reworded, Sampling

GREEDY = Sampling(8, ("\n",))
BLOCK = Block("test", 0, (), ())
POPULATION = population(40, [0.001, 0.002], 0)


def test_an_attempt_is_the_base_with_draws_of_its_own() -> None:
    attempt = Attempt(3, 0.7, 9)
    assert weights_of(attempt) is None
    drawn = sampling_of(attempt, BLOCK, GREEDY)
    assert replace(drawn, temperature=0.0, seed=0) == GREEDY
    assert drawn.temperature == 0.7
    assert drawn == sampling_of(Attempt(3, 0.7, 9), replace(BLOCK), GREEDY)
    others = [(replace(attempt, index=4), BLOCK), (replace(attempt, seed=8), BLOCK)]
    others += [(attempt, replace(BLOCK, index=1)), (attempt, replace(BLOCK, split="validation"))]
    seeds = {sampling_of(who, block, GREEDY).seed for who, block in others}
    assert len(seeds | {drawn.seed}) == 5
    reworded = sampling_of(replace(attempt, instruction="Ah, {question}"), BLOCK, GREEDY)
    assert (reworded.temperature, reworded.seed in seeds | {drawn.seed}) == (0.7, False)
    for who in (None, Candidate(1, 0.1), Average((Candidate(1, 0.1),)), Reworded("Ah, {question}")):
        assert sampling_of(who, BLOCK, GREEDY) is GREEDY


def test_an_attempts_name_holds_all_that_makes_its_answers_others() -> None:
    one = Attempt(3, 0.7, 9)
    assert one.id == "base~t0.7s9#3"
    others = [replace(one, index=4), replace(one, temperature=0.8), replace(one, instruction="a {question}")]
    others += [replace(one, instruction="b {question}"), Reworded("a {question}"), Reworded("b {question}")]
    assert len({candidate_id(who) for who in (None, one, *others)}) == 8
    # Pinned: finished runs know them by these names.
    assert replace(one, instruction="a {question}").id == "base~w25ca6fcc503425a6t0.7s9#3"
    assert Reworded("a {question}").id == "base~w25ca6fcc503425a6"


def test_a_respondent_is_asked_in_its_own_words_by_its_own_weights() -> None:
    block = Block("test", 0, (), ("own",), {"a {question}": ("a",)})
    reworded, sampled = Reworded("a {question}"), Attempt(0, 0.7, 0, "a {question}")
    for who in (None, Candidate(1, 0.1), Average((Candidate(1, 0.1),)), Attempt(0, 0.7)):
        assert prompts_of(who, block) == ("own",)
    for who in (reworded, sampled):
        assert prompts_of(who, block) == ("a",)
        assert weights_of(who) is None
    with pytest.raises(RunError, match=r"no prompts worded 'b \{question\}'"):
        prompts_of(Reworded("b {question}"), block)
    for weights in (Candidate(1, 0.1), Average((Candidate(1, 0.1), Candidate(2, 0.1)))):
        assert weights_of(weights) is weights


def test_a_small_panel_is_the_beginning_of_a_large_one() -> None:
    assert attempts(3, 0.7, 0) == attempts(5, 0.7, 0)[:3]
    assert random_experts(POPULATION, 3, 1).members == random_experts(POPULATION, 9, 1).members[:3]


def test_random_experts_are_drawn_from_the_whole_population_by_their_seed() -> None:
    everybody = candidates_of(POPULATION)
    panels = [random_experts(POPULATION, 5, seed).members for seed in range(30)]
    assert all(len(set(panel)) == 5 and set(panel) <= set(everybody) for panel in panels)
    assert len(set(panels)) == 30
    assert len({who for panel in panels for who in panel}) > 35  # 150 draws of 40
    assert set(random_experts(POPULATION, 40, 0).members) == set(everybody)
    # Pinned: a change would give finished runs other random experts.
    assert [everybody.index(who) for who in random_experts(POPULATION, 5, 0).members] == [18, 5, 21, 15, 13]


def gold(*answers: str) -> list[Example]:
    return [Example(f"e{place}", f"{place}?", answer) for place, answer in enumerate(answers)]


def test_guessing_is_the_better_of_a_constant_answer_and_a_lot() -> None:
    with_options = load_problem(ProblemConfig(name="largest_number", options={"count": 4}))
    without = load_problem(ProblemConfig(name="file", path="unread.jsonl"))
    letters = gold(*"AABAB" * 2, "A ")
    assert best_guess(without, letters) == Guess(
        "chance, always the most frequent answer", tuple(float(example.answer[0] == "A") for example in letters)
    )
    numbers = gold(*map(str, range(11)))
    assert best_guess(without, numbers) is None
    assert best_guess(with_options, numbers) == Guess("chance, one of the options at random", (0.25,) * 11)
    assert best_guess(with_options, letters) == best_guess(without, letters)
    rare = gold(*(str(place // 5) for place in range(30)))
    assert best_guess(with_options, rare) == Guess("chance, one of the options at random", (0.25,) * 30)


def test_options_of_a_file_tell_what_guessing_reaches() -> None:
    choice = load_problem(ProblemConfig(name="file", path="unused.csv", verifier="choice"))
    listed = [Example(str(n), "Which?", "B", {"options": ["a", "b", "c", "d"]}) for n in range(3)]
    labelled = [Example("x", "Which? (A) one (B) two", "A")]
    assert best_guess(choice, [*listed, *labelled]) == Guess(
        "chance, one of the options at random", (0.25,) * 3 + (0.5,)
    )
    assert best_guess(choice, [*listed, Example("y", "Which?", "C")]) is None
    assert best_guess(choice, [Example("z", "Which?", "A", {"options": ["a", "b"], "aliases": ["B"]})]) is None
    numeric = load_problem(ProblemConfig(name="file", path="unused.csv", verifier="numeric"))
    assert best_guess(numeric, listed) is None


def test_any_model_is_compared_with_the_chance_of_a_run() -> None:
    golds = ["A", "B", "A ", "A", "B"]
    correct = [True, True, False, True, False]

    def chance(score: Accuracy) -> Control:
        gap = paired_difference(correct, correct)
        return Control(name="chance", label="", accuracy=score, n_tokens=0, minus_base=gap, ensemble_minus=gap)

    found = minus_chance(correct, golds, chance(accuracy(3, 5)))
    assert found == paired_difference(correct, [True, False, True, True, False])
    assert (found.n_better, found.n_worse) == (1, 1)
    exact = Accuracy(n_correct=2, n=5, value=0.4, low=0.4, high=0.4, is_exact=True)
    assert minus_chance(correct, golds, chance(exact)) == minus_expectation(accuracy(3, 5), 0.4)


SMALL = population(3, [0.001], 0)
IDS = SMALL["candidate_id"].to_list()
AVERAGE = Average(tuple(candidates_of(SMALL)[:2]))
# Correct answers are "1"; four tokens an answer of the base and of candidates, six of a sample.
TEST = {
    "base": "0011",
    IDS[0]: "1110",
    IDS[1]: "1011",
    IDS[2]: "0000",
    "base~t0.7s0#0": "1001",
    "base~t0.7s0#1": "0101",
    "base~t0.7s0#2": "0011",
    AVERAGE.id: "1111",
}


@pytest.fixture
def book(tmp_path: Path) -> ScoreBook:
    blocks = [
        Block(split, 0, tuple(Example(f"{split}{i}", f"{split} {i}?", "1") for i in range(4)), ("",) * 4)
        for split in ("selection", "test")
    ]
    rows = [
        (who, split, 0, f"{split}{place}", answer == "1", answer, 6 if "~" in who else 4, "stop", answer)
        for split in ("selection", "test")
        for who, given in TEST.items()
        if split == "test" or "~" not in who
        for place, answer in enumerate(given)
    ]
    write_rows(tmp_path / "shards", "s", rows)
    made = ScoreBook(tmp_path / "scores.duckdb", tmp_path / "shards", "run", SMALL, blocks, JUDGE, VERDICTS)
    assert "~" not in "".join(made.aggregate()["candidate_id"])
    # Late, after their shard was taken in; candidates and whoever is known are passed over.
    made.register([*attempts(3, 0.7, 0), AVERAGE, None, *candidates_of(SMALL)])
    made.register(attempts(2, 0.7, 0))
    assert set(made.aggregate()["candidate_id"]) == set(TEST)
    return made


def test_controls_are_compared_on_the_same_questions_with_their_cost(book: ScoreBook) -> None:
    everybody = random_experts(SMALL, 3, 0)
    asked = Panel("best_prompt", "best of 2 prompts (the run's own)", (None,), "{question}")
    panels = (self_consistency(3, 0.7, 0), everybody, weight_average(AVERAGE.members), asked)
    controls = Controls(panels, Guess("a lot", (0.25,) * 4))
    assert len(controls.respondents) == 8
    with book.open() as store:
        experts = top_k(store, 3)
        found = evaluate(store, experts, 2, "majority", controls)
        plain = evaluate(store, experts, 2, "majority")
    assert set(experts.head(2)["candidate_id"]) == set(IDS[:2])
    assert found.model_copy(update={"controls": ()}) == plain
    assert (found.n_tokens.base, found.n_tokens.best_single, found.n_tokens.ensemble) == (16, 16, 32)
    chance, sampled, drawn, averaged, own = found.controls
    assert [control.name for control in found.controls] == ["chance", *(panel.name for panel in panels)]
    assert (averaged.label, averaged.accuracy.n_correct, averaged.n_tokens) == ("weight average of 2", 4, 24)
    assert (own.accuracy, own.n_tokens, own.minus_base.value) == (found.base, 16, 0)
    assert [control.detail for control in found.controls] == [None, None, None, None, "{question}"]
    assert (chance.accuracy.value, chance.accuracy.low, chance.n_tokens) == (0.25, 0.25, 0)
    assert chance.minus_base.value == pytest.approx(-0.25)
    assert chance.ensemble_minus == minus_expectation(found.ensemble, 0.25)
    assert (sampled.accuracy.n_correct, sampled.accuracy.n, sampled.n_tokens) == (1, 4, 72)  # 1001, 0101, 0011: 0001
    assert sampled.minus_base.value == pytest.approx(-0.25)
    assert sampled.ensemble_minus.value == pytest.approx((found.ensemble.n_correct - 1) / 4)
    assert (drawn.accuracy.n_correct, drawn.n_tokens) == (2, 48)  # 1110, 1011, 0000: 1010
    assert drawn.label == "random experts, 3 of 3"


def test_attempts_are_never_ranked(book: ScoreBook) -> None:
    with book.open() as store:
        assert store.leaderboard("test")["candidate_id"].sort().to_list() == sorted(IDS)
        assert store.totals("test")["n_candidates"].item() == 3
