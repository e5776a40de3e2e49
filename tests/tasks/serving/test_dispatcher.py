"""Every question gets one outcome or one error, whatever becomes of the engine and of those who ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.patience import PATIENCE_S, wait_for
from tests.tasks.serving.table_engine import EXPERTS, JUDGE, TableEngine, question
from thickets.storage.errors import InputError, RunError, TransientError
from thickets.tasks.problems.judging import Judge
from thickets.tasks.serving.dispatcher import BusyError, Dispatcher
from thickets.tasks.serving.questions import EngineLostError, UnjudgedError
from thickets.tasks.types import Example, Sampling


@contextmanager
def dispatching(open_engine, **settings) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(open_engine, JUDGE, **settings)
    try:
        yield dispatcher
    finally:
        dispatcher.close()


def test_questions_that_arrive_together_are_one_walk_on_one_thread() -> None:
    engine = TableEngine()
    with dispatching(lambda: engine, gather_s=0.2) as dispatcher:
        dispatcher.wait_until_ready()
        tickets = [dispatcher.submit(question(text))[0] for text in ("11111", "22222", "33333")]
        assert [ticket.future.result(PATIENCE_S).answer for ticket in tickets] == ["1", "2", "3"]
        again = dispatcher.submit(question("44444"))[0].future.result(PATIENCE_S)
    assert again.answer == "4"
    assert [len(texts) for _, texts in engine.calls] == [3, 3, 3, 1, 1, 1]
    assert engine.calls[3][0] == EXPERTS[2]  # what the first walk left loaded
    assert len(engine.threads) == 1
    assert threading.get_ident() not in engine.threads
    assert engine.is_closed
    counts = dispatcher.counts
    assert (counts.answered, counts.batches, counts.loads, counts.starts) == (4, 2, 5, 1)


def test_a_full_queue_refuses_all_of_a_request_and_what_was_left_takes_no_place() -> None:
    go = threading.Event()
    with dispatching(lambda: TableEngine(lambda prompts: go.wait(PATIENCE_S) and None), most_waiting=2) as dispatcher:
        first = dispatcher.submit(question("11111"))[0]
        wait_for(lambda: dispatcher.n_waiting == 0 and dispatcher.state == "ready")
        time.sleep(0.05)
        second = dispatcher.submit(question("22222"))[0]
        with pytest.raises(BusyError, match="1 questions wait already, of 2 that may"):
            dispatcher.submit(question("33333"), question("44444"))
        second.leave()
        both = dispatcher.submit(question("33333"), question("44444"))
        go.set()
        assert [ticket.future.result(PATIENCE_S).answer for ticket in (first, *both)] == ["1", "3", "4"]
        assert dispatcher.counts.left == 1
    assert dispatcher.counts.answered == 3


def test_the_loss_of_an_engine_fails_the_questions_under_way_and_the_next_engine_answers_those_that_wait() -> None:
    go, engines = threading.Event(), []

    def die(prompts):
        go.wait(PATIENCE_S)
        raise EngineLostError("killed")

    def open_engine():
        engines.append(TableEngine() if engines else TableEngine(die))
        return engines[-1]

    with dispatching(open_engine) as dispatcher:
        under_way = dispatcher.submit(question("11111"), question("22222"))
        wait_for(lambda: dispatcher.n_waiting == 0)
        waiting = dispatcher.submit(question("33333"))[0]
        go.set()
        for ticket in under_way:
            with pytest.raises(EngineLostError):
                ticket.future.result(PATIENCE_S)
        assert waiting.future.result(PATIENCE_S).answer == "3"
        assert engines[0].is_closed
        assert dispatcher.state == "ready"
        counts = dispatcher.counts
    assert (counts.answered, counts.failed, counts.starts) == (1, 2, 2)


def test_an_engine_that_does_not_start_again_fails_those_that_wait_and_is_tried_again() -> None:
    tries: list[int] = []

    def open_engine():
        tries.append(len(tries))
        if len(tries) == 2:
            raise OSError("no memory")
        return TableEngine() if len(tries) > 2 else TableEngine(die)

    def die(prompts):
        dispatcher.submit(question("99999"))  # waits while the engine is started again
        raise EngineLostError("killed")

    with dispatching(open_engine) as dispatcher:
        with pytest.raises(EngineLostError):
            dispatcher.submit(question("11111"))[0].future.result(PATIENCE_S)
        wait_for(lambda: dispatcher.counts.failed == 2)
        assert dispatcher.submit(question("22222"))[0].future.result(PATIENCE_S).answer == "2"
    assert len(tries) == 3


def test_an_engine_that_cannot_be_built_at_all_is_said_to_whoever_waits_for_it() -> None:
    def refuse():
        raise InputError("model: is broken")

    with dispatching(refuse) as dispatcher, pytest.raises(InputError, match="model: is broken"):
        dispatcher.wait_until_ready()


def test_a_verifier_that_fails_at_one_reply_leaves_the_questions_beside_it_their_answers() -> None:
    class Failing(Judge):
        def extract(self, text: str, example: Example) -> str | None:
            if example.question == "99999":
                raise InputError("problem.verifier mine:judge raised KeyError: 'x'")
            if example.question == "88888":
                raise TransientError("cannot start the process that judges")
            return super().extract(text, example)

    engine = TableEngine()
    dispatcher = Dispatcher(lambda: engine, Failing(JUDGE.problem), gather_s=0.2)
    try:
        tickets = dispatcher.submit(question("11111"), question("99999"), question("12345"), question("88888"))
        answers = [tickets[place].future.result(PATIENCE_S).answer for place in (0, 2)]
        with pytest.raises(UnjudgedError, match=r"could not be judged: problem\.verifier mine:judge raised KeyError"):
            tickets[1].future.result(PATIENCE_S)
        with pytest.raises(UnjudgedError, match="cannot start the process"):
            tickets[3].future.result(PATIENCE_S)
    finally:
        dispatcher.close()
    assert answers == ["1", "1"]
    assert [tickets[place].future.exception().may_pass for place in (1, 3)] == [False, True]
    assert len(engine.calls[0][1]) == 4  # they were one batch
    counts = dispatcher.counts
    assert (counts.answered, counts.failed, counts.refused, counts.starts) == (2, 2, 0, 1)


def test_the_loss_of_an_engine_takes_along_the_questions_of_its_call_alone() -> None:
    engines: list[TableEngine] = []

    def die(prompts):
        if "55555" in prompts:
            raise EngineLostError("killed")

    def open_engine():
        engines.append(TableEngine(die))
        return engines[-1]

    with dispatching(open_engine, gather_s=0.2) as dispatcher:
        longer = Sampling(max_tokens=9)
        tickets = dispatcher.submit(
            question("11111"), question("22222"), question("55555", sampling=longer), question("66666", sampling=longer)
        )
        assert [ticket.future.result(PATIENCE_S).answer for ticket in tickets[:2]] == ["1", "2"]
        for ticket in tickets[2:]:
            with pytest.raises(EngineLostError, match="killed"):
                ticket.future.result(PATIENCE_S)
        counts = dispatcher.counts
    assert (counts.answered, counts.failed, counts.starts) == (2, 2, 2)
    assert [engine.calls[0][1] for engine in engines] == [("11111", "22222")] * 2


def test_an_error_of_this_programs_own_fails_its_batch_alone() -> None:
    def raise_once(prompts):
        if "bug" in prompts:
            raise ValueError("a mistake")

    with dispatching(lambda: TableEngine(raise_once)) as dispatcher:
        with pytest.raises(RunError, match="ValueError: a mistake"):
            dispatcher.submit(question("bug"))[0].future.result(PATIENCE_S)
        assert dispatcher.submit(question("22222"))[0].future.result(PATIENCE_S).answer == "2"
        assert dispatcher.counts.starts == 1


def test_closing_fails_those_that_wait() -> None:
    go = threading.Event()
    dispatcher = Dispatcher(lambda: TableEngine(lambda prompts: go.wait(PATIENCE_S) and None), JUDGE)
    dispatcher.submit(question("11111"))
    wait_for(lambda: dispatcher.n_waiting == 0)
    waiting = dispatcher.submit(question("22222"))[0]
    go.set()
    dispatcher.close()
    with pytest.raises(EngineLostError, match="shutting down"):
        waiting.future.result(0)
    with pytest.raises(EngineLostError, match="shutting down"):
        dispatcher.submit(question("33333"))
