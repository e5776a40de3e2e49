"""`Answerer` asks by the same loop as `thickets serve`: who is asked, with which seed, and what is refused."""

from __future__ import annotations

import pytest

from tests.tasks.serving.table_engine import EXPERTS, JUDGE, TableEngine, ensemble
from thickets.storage.errors import InputError
from thickets.tasks.engines.prompts import text_of
from thickets.tasks.serving import Answerer
from thickets.tasks.types import Sampling


class Bare:
    """Renders a question as it is; the rest of `PromptTemplate` is not looked at where answers are generated."""

    def render(self, messages):
        return messages[-1]["content"]


def answerer(engine: TableEngine) -> Answerer:
    return Answerer(engine, Bare(), JUDGE, Sampling(max_tokens=8), ensemble())


def test_questions_end_when_their_vote_is_decided_and_what_is_loaded_comes_first_the_next_time() -> None:
    engine = TableEngine()
    asking = answerer(engine)
    first = asking.ask(["11111", "11222"])
    assert [row.answer for row in first.rows] == ["1", "2"]
    assert [row.ballots for row in first.rows] == [("1", "1", "1"), ("1", "1", "2", "2", "2")]
    assert first.saved == 1 - 8 / 10
    assert [row.n_tokens for row in first.rows] == [6, 10]
    assert engine.loads == list(EXPERTS)
    assert asking.ask(["11111"], k=3).rows[0] == asking.ask(["11111"], k=3).rows[0]
    # Of three, two are asked in any case: the second begins, since it is what the call before has left.
    assert engine.loads[5:] == [*EXPERTS[:2], EXPERTS[1], EXPERTS[0]]


def test_every_expert_draws_with_a_seed_of_its_own_that_stays_the_same() -> None:
    engine = TableEngine()
    asking = answerer(engine)
    for _ in range(2):
        asking.ask(["12345", "54321"], temperature=1.0, every=True)
    by_expert: dict[object, set[int]] = {}
    for (expert, _), sampling in zip(engine.calls, engine.samplings, strict=True):
        by_expert.setdefault(expert, set()).add(sampling.seed)
    assert {len(seeds) for seeds in by_expert.values()} == {1}
    assert len(set.union(*by_expert.values())) == 5


def test_a_question_that_the_engine_refuses_is_an_error_and_the_next_ones_are_answered() -> None:
    def refuse(prompts):
        if any("bad" in text_of(prompt) for prompt in prompts):
            raise InputError("too long")

    asking = answerer(TableEngine(refuse))
    with pytest.raises(InputError, match="too long"):
        asking.ask(["11111", "bad"])
    assert asking.ask(["11111"]).rows[0].answer == "1"
    assert asking.ask([]).rows == ()
