"""A walk asks each expert only what it must, loads each weights once, and the order changes no answer."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.serving.table_engine import EXPERTS, JUDGE, TableEngine, ensemble, question
from thickets.storage.errors import InputError
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.problems.judging import Judge
from thickets.tasks.serving import Voter
from thickets.tasks.serving.questions import Ballots, Outcome, Question
from thickets.tasks.serving.tally import Tally
from thickets.tasks.serving.walk import Walk, order_of
from thickets.tasks.types import Completion, Example, Sampling, Weights


def walked(
    engine: TableEngine, *questions: Question, held: Weights | None = None
) -> tuple[list[Outcome | InputError], int]:
    found: dict[int, Outcome | InputError] = {}
    walk = Walk[int](engine, JUDGE, held, on_done=found.__setitem__, on_refused=found.__setitem__)
    walk.run(dict(enumerate(questions)))
    return [found[i] for i in range(len(questions))], walk.n_loads


def test_questions_share_every_load_and_end_when_their_vote_is_decided() -> None:
    engine = TableEngine()
    outcomes, n_loads = walked(engine, question("11111"), question("12345"), question("11222"))
    assert [outcome.answer for outcome in outcomes] == ["1", "1", "2"]
    assert [len(outcome.ballots) for outcome in outcomes] == [3, 5, 5]
    assert n_loads == 5
    assert [texts for _, texts in engine.calls] == [
        ("11111", "12345", "11222"),
        ("11111", "12345", "11222"),
        ("11111", "12345", "11222"),
        ("12345", "11222"),
        ("12345", "11222"),
    ]


def test_an_expert_that_nobody_needs_any_more_is_not_loaded() -> None:
    engine = TableEngine()
    assert walked(engine, question("11111"))[1] == 3
    assert engine.loads == list(EXPERTS[:3])


def test_the_completion_is_that_of_the_best_ranked_expert_among_those_who_won() -> None:
    [outcome], _ = walked(TableEngine(), question("91414"))
    assert (outcome.answer, outcome.rank, outcome.completion.text) == ("1", 2, "Answer: 1 by 2")
    assert (outcome.n_votes, outcome.margin, outcome.n_tokens) == (2, 0.0, 10)


def test_if_all_abstain_the_best_expert_speaks() -> None:
    [outcome], _ = walked(TableEngine(), question("xxxxx"))
    assert (outcome.answer, outcome.rank, outcome.n_votes) == (None, 1, 0)
    assert len(outcome.ballots) == 5


def test_a_model_that_answers_alone_does_not_wait_for_the_experts() -> None:
    done: list[int] = []
    walk = Walk[int](TableEngine(), JUDGE, EXPERTS[4], on_done=lambda key, _: done.append(key), on_refused=pytest.fail)
    base, third = (Voter(None),), (Voter(EXPERTS[2]),)
    walk.run({0: question("11111"), 1: question("11111", base), 2: question("11111", third)})
    assert done[0] == 1
    assert set(done) == {0, 1, 2}
    assert walk.n_loads == 4


def test_what_is_loaded_comes_first_where_it_is_asked_in_any_case() -> None:
    one = question("11111")
    assert order_of([one], EXPERTS[2]) == [EXPERTS[2], EXPERTS[0], EXPERTS[1], EXPERTS[3], EXPERTS[4]]
    # Three votes of five may be enough, so the fourth is not asked before them.
    assert order_of([one], EXPERTS[3]) == list(EXPERTS)
    closest = question("11111", consensus=Consensus("rouge_l"))
    assert order_of([closest], EXPERTS[4])[0] == EXPERTS[4]
    assert order_of([question("11111", is_of_all=True)], EXPERTS[4])[0] == EXPERTS[4]
    # With another question that may do without it, rank decides.
    assert order_of([closest, one], EXPERTS[4]) == list(EXPERTS)
    assert order_of([question("1", (Voter(None),)), one], EXPERTS[0])[:2] == [EXPERTS[0], None]


def test_a_walk_that_begins_with_what_is_loaded_saves_a_load_and_asks_nobody_else() -> None:
    fresh, saving = TableEngine(), TableEngine()
    [plain], n_plain = walked(fresh, question("12111"))
    [quick], n_quick = walked(saving, question("12111"), held=EXPERTS[2])
    assert (n_plain, n_quick) == (4, 3)
    assert plain == quick


def test_refused_questions_do_not_take_the_others_with_them() -> None:
    def refuse(prompts):
        if "bad" in prompts:
            raise InputError("too long")

    outcomes, _ = walked(TableEngine(refuse), question("11111"), question("bad"), question("22222"))
    assert isinstance(outcomes[1], InputError)
    assert [outcomes[0].answer, outcomes[2].answer] == ["1", "2"]


class Picky(Judge):
    """Fails at the replies to some questions."""

    def extract(self, text: str, example: Example) -> str | None:
        if example.question.startswith("9"):
            raise ValueError("nines")
        return super().extract(text, example)


def test_a_reply_that_the_judge_fails_at_is_one_questions_error() -> None:
    engine, found = TableEngine(), {}
    put = found.__setitem__
    walk = Walk[int](engine, Picky(JUDGE.problem), None, on_done=put, on_refused=pytest.fail, on_unjudged=put)
    walk.run({0: question("91111"), 1: question("22222"), 2: question("12345")})
    assert str(found[0]) == "nines"
    assert [found[1].answer, found[2].answer] == ["2", "1"]
    # The first reply failed: nobody else is asked.
    assert ["91111" in texts for _, texts in engine.calls] == [True, False, False, False, False]


def test_where_nobody_is_called_for_it_a_failure_is_raised() -> None:
    def refuse(prompts):
        if "bad" in prompts:
            raise InputError("too long")

    walk = Walk[int](TableEngine(refuse), Picky(JUDGE.problem), None, on_done=lambda key, outcome: None)
    with pytest.raises(ValueError, match="nines"):
        walk.run({0: question("22222"), 1: question("91111")})
    with pytest.raises(InputError, match="too long"):
        walk.run({0: question("22222"), 1: question("bad")})


def test_each_voter_may_have_a_seed_of_its_own() -> None:
    engine, hot = TableEngine(), Sampling(max_tokens=8, temperature=1.0)
    walked(engine, *(replace(question(text, sampling=hot), seeds=(5, 6, 7, 8, 9)) for text in ("11111", "11122")))
    assert [each.seed for each in engine.samplings] == [5, 6, 7]
    assert [len(texts) for _, texts in engine.calls] == [2, 2, 2]


def test_questions_are_asked_together_only_if_they_are_decoded_alike() -> None:
    engine = TableEngine()
    hot, first = Sampling(max_tokens=8, temperature=1.0, seed=3), (Voter(EXPERTS[0]),)
    walked(
        engine,
        question("11111", first),
        question("22222", first),
        question("33333", first, sampling=Sampling(max_tokens=9)),
        question("44444", first, sampling=hot, is_alone=True),
        question("55555", first, sampling=hot, is_alone=True),
        question("66666", first, sampling=Sampling(max_tokens=8, temperature=1.0), is_random=True),
        question("77777", first, sampling=Sampling(max_tokens=8, temperature=1.0), is_random=True),
    )
    asked = [texts for _, texts in engine.calls]
    assert asked == [("11111", "22222"), ("33333",), ("44444",), ("55555",), ("66666", "77777")]
    assert [each.seed for each in engine.samplings[2:4]] == [3, 3]
    assert engine.samplings[4].seed != 0
    assert len(engine.loads) == 1


def test_a_question_that_was_left_is_not_asked_on() -> None:
    engine, wanted = TableEngine(), {0, 1}
    engine._before = lambda prompts: wanted.discard(1)
    done: list[int] = []
    walk = Walk[int](
        engine,
        JUDGE,
        None,
        on_done=lambda key, _: done.append(key),
        on_refused=pytest.fail,
        is_wanted=lambda key: key in wanted,
    )
    walk.run({0: question("12345"), 1: question("54321")})
    assert done == [0]
    assert [len(texts) for _, texts in engine.calls] == [2, 1, 1, 1, 1]


ANSWERS = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(answers=ANSWERS, data=st.data())
def test_in_any_order_of_the_certain_ones_the_same_experts_are_asked_as_in_the_order_of_rank(answers, data) -> None:
    powers = data.draw(st.lists(st.integers(0, 4), min_size=len(answers), max_size=len(answers)))
    voters = tuple(Voter(None, power) for power in powers)
    tally = Tally(powers)
    while not tally.is_decided:
        tally.cast(answers[len(tally.ballots)])
    n_certain = question("", voters).n_certain
    head = data.draw(st.sampled_from(list(permutations(range(n_certain)))[:50]))
    ballots = Ballots(question("", voters))
    for place in [*head, *range(n_certain, len(answers))]:
        if ballots.wants(place):
            ballots.add(place, Completion(str(place), 1, "stop"), answers[place])
    assert ballots.is_decided
    outcome = ballots.outcome()
    assert list(outcome.ballots) == tally.ballots
    assert (outcome.answer, outcome.margin, outcome.n_votes) == (tally.answer, tally.margin, tally.n_votes)


def test_powers_decide_who_is_certain() -> None:
    assert [question("", ensemble(powers=powers)).n_certain for powers in [(1,) * 5, (9, 1, 1, 1, 1), (0,) * 5]] == [
        3,
        1,
        1,
    ]
