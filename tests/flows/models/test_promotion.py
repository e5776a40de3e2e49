"""Nothing becomes champion that is not better than chance, and nothing replaces one that may be worse than it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.flows.command_line import refused
from tests.flows.models.helpers import NAME, TEST_N, make_run, stored
from thickets.flows.models.promotion import default_name, promote
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.tasks.evaluation.voting import vote
from thickets.tasks.results.evaluation import Control
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.statistics import accuracy, paired_difference


@pytest.fixture
def champion(run: RunSummary, client: Any, request: pytest.FixtureRequest):
    """A registered model of the test's own, whose champion is the run's ensemble."""
    name = f"m-{request.node.name[:60]}"
    promote(RunFolder(run.folder), name=name)
    return name


def alias(client: Any, name: str) -> str:
    return str(client.get_model_version_by_alias(name, "champion").version)


def rewrite_answers(client: Any, name: str, correct: bool) -> None:
    """Make it look as if the champion had been right, or wrong, everywhere."""
    version = client.get_model_version_by_alias(name, "champion")
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    path = Path(model.artifact_location.removeprefix("file://")) / "test_answers.parquet"
    pl.read_parquet(path).with_columns(correct=pl.lit(correct), score=pl.lit(1000 * correct, pl.UInt16)).write_parquet(
        path
    )


@pytest.fixture
def keeps_answers(model_folder: Path):
    path = model_folder / "test_answers.parquet"
    content = path.read_bytes()
    yield
    path.write_bytes(content)


def test_the_first_version_is_champion_and_the_same_model_is_registered_once(run: RunSummary, client: Any) -> None:
    first, again = (promote(RunFolder(run.folder), name="once") for _ in range(2))
    assert (first.is_new, first.is_champion, first.reason) == (True, True, "there was no champion")
    assert (again.is_new, again.version, again.is_champion) == (False, "1", True)
    assert again.reason == "it is the champion already (there was no champion)"
    assert len(client.search_model_versions("name = 'once'")) == 1


def test_the_same_questions_decide_by_their_paired_interval(
    home: Home, run: RunSummary, rival: RunSummary, champion: str
) -> None:
    theirs, ours = (vote(stored(home, each)[0], 5)["correct"].to_list() for each in (run, rival))
    expected = paired_difference(ours, theirs)
    found = promote(RunFolder(rival.folder), name=champion)
    assert found.over_champion == expected
    assert found.is_champion == (expected.low >= 0)
    assert f"on the same {TEST_N} questions" in found.reason


@pytest.mark.usefixtures("keeps_answers")
def test_a_loss_keeps_the_champion_unless_it_is_forced_and_that_is_recorded(
    rival: RunSummary, champion: str, client: Any
) -> None:
    rewrite_answers(client, champion, correct=True)
    found = promote(RunFolder(rival.folder), name=champion)
    assert (found.is_new, found.is_champion, found.forced) == (True, False, False)
    assert found.reason.startswith("a loss against the champion, version 1, is not excluded")
    assert alias(client, champion) == "1"
    forced = promote(RunFolder(rival.folder), name=champion, force=True)
    assert (forced.is_new, forced.version, forced.is_champion, forced.forced) == (False, "2", True, True)
    moved = client.get_model_version_by_alias(champion, "champion")
    assert (str(moved.version), moved.tags["thickets.forced"]) == ("2", "true")
    assert moved.tags["thickets.decision"].startswith("forced, although a loss against")
    again = promote(RunFolder(rival.folder), name=champion)
    assert again.forced
    assert client.get_model_version_by_alias(champion, "champion").tags["thickets.forced"] == "true"


@pytest.mark.usefixtures("keeps_answers")
def test_a_version_that_is_no_worse_becomes_champion(rival: RunSummary, champion: str, client: Any) -> None:
    rewrite_answers(client, champion, correct=False)
    found = promote(RunFolder(rival.folder), name=champion)
    assert (found.is_champion, found.forced) == (True, False)
    assert "is not better" in found.reason
    assert alias(client, champion) == "2"


@pytest.mark.slow
def test_other_test_questions_are_no_comparison(root: Path, champion: str, client: Any) -> None:
    data = {"selection": 12, "validation": 6, "test": TEST_N, "seed": 1}
    other = make_run(root, data=data)
    found = promote(RunFolder(other.folder), name=champion)
    assert (found.is_new, found.is_champion, found.over_champion) == (True, False, None)
    assert "was asked other test questions" in found.reason
    assert alias(client, champion) == "1"


def chance(expected: float | None) -> Control:
    """A guess at random, or (None) the answer that is most often right; of the differences only the model's counts."""
    score = accuracy(TEST_N // 4, TEST_N)
    if expected is not None:
        score = Accuracy(n_correct=0, n=TEST_N, value=expected, low=expected, high=expected, is_exact=True)
    gap = paired_difference([True], [True])
    label = "chance, always the most frequent answer" if expected is None else "chance, one of the options at random"
    return Control(name="chance", label=label, accuracy=score, n_tokens=0, minus_base=gap, ensemble_minus=gap)


@pytest.fixture
def against_chance(run: RunSummary):
    """Have the run know what chance reaches."""
    path = RunFolder(run.folder).summary
    content = path.read_bytes()

    def write(expected: float | None) -> None:
        evaluation = run.evaluation.model_copy(update={"controls": (chance(expected),)})
        path.write_text(run.model_copy(update={"evaluation": evaluation}).model_dump_json())

    yield write
    path.write_bytes(content)


def test_what_is_not_better_than_chance_is_refused_in_one_line_unless_it_is_forced(
    thickets, run: RunSummary, client: Any, against_chance: Callable[[float | None], None]
) -> None:
    against_chance(run.evaluation.ensemble.value)
    message = refused(thickets("promote", run.run_id, "--name", "lucky"))
    assert message.startswith(
        "RUN: the ensemble is not distinguishable from chance (one of the options at random): +0.0 ["
    )
    assert message.endswith(". Nothing is registered; --force makes it champion all the same")
    assert not client.search_registered_models("name = 'lucky'")

    forced = promote(RunFolder(run.folder), name="lucky", force=True)
    assert (forced.is_new, forced.is_champion, forced.forced) == (True, True, True)
    assert forced.reason.startswith("forced, although the ensemble is not distinguishable from chance")
    # The champion may be named again; that decides nothing.
    again = promote(RunFolder(run.folder), name="lucky")
    assert (again.is_new, again.is_champion, again.forced) == (False, True, True)

    against_chance(0.01)
    found = promote(RunFolder(run.folder), name="skilled")
    assert (found.is_champion, found.forced, found.reason) == (True, False, "there was no champion")


def test_a_student_has_to_beat_the_constant_answer_on_the_same_questions(
    home: Home, run: RunSummary, student: str, client: Any, against_chance: Callable[[float | None], None]
) -> None:
    against_chance(None)
    path = Path(client.get_logged_model(student).artifact_location.removeprefix("file://")) / "test_answers.parquet"
    content = path.read_bytes()
    golds = stored(home, run)[1].select("example_id", "answer")
    constant = golds["answer"].value_counts(sort=True)["answer"][0]
    # In another order than the questions; what is compared is the same question.
    by_rote = golds.reverse().with_columns(correct=pl.col("answer") == constant)
    try:
        by_rote.write_parquet(path)
        with pytest.raises(InputError, match=r"the student is .* chance \(always the most frequent answer\): \+0.0 \["):
            promote(RunFolder(run.folder), "student", "pupils")
        by_rote.with_columns(correct=pl.lit(True)).write_parquet(path)
        assert promote(RunFolder(run.folder), "student", "pupils").is_champion
    finally:
        path.write_bytes(content)


def test_the_default_name_is_problem_and_base() -> None:
    assert default_name("gsm8k", "Qwen/Qwen2.5-1.5B-Instruct") == "gsm8k-qwen2-5-1-5b-instruct"
    assert default_name("reasoning_gym:chain_sum", "/models/My Model.gguf") == "reasoning_gym-chain_sum-my-model"


def test_promote_on_the_command_line(thickets, run: RunSummary) -> None:
    status, out, err = thickets("promote", run.run_id)
    assert (status, out) == (0, f"models:/{NAME}@champion\n")
    assert "champion: yes, " in err
    assert json.loads(thickets("promote", run.run_id, "--json")[1])["version"] == "1"
    assert refused(thickets("promote", run.run_id, "--student", "--ensemble")).startswith("--ensemble: ")
    assert refused(thickets("promote", run.run_id, "--name", "a/b")).startswith("--name: 'a/b' cannot name a model")


def test_a_run_without_a_student_says_how_to_get_one(thickets, rival: RunSummary) -> None:
    assert "has no student in MLflow; distil it first" in refused(thickets("promote", rival.run_id, "--student"))
