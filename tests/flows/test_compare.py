"""`thickets compare`: what it counts against the stored answers, what it refuses to say, and what it refuses."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from starlette.testclient import TestClient

from tests.flows.command_line import refused
from tests.storage.storage_samples import answers_in
from tests.tiny_model import make_tiny_model
from thickets.flows.config.file import parse_config
from thickets.flows.randopt import randopt
from thickets.flows.results.compare import compare, config_differences
from thickets.flows.results.comparison import Comparison
from thickets.flows.results.comparison_text import comparison_markdown
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.results.summary import RunSummary
from thickets.flows.results.task_map import make_map
from thickets.flows.view.address import Address
from thickets.flows.view.app import make_app
from thickets.storage.errors import InputError, RunError
from thickets.storage.home import Home
from thickets.tasks.statistics import paired_difference

Runs = dict[str, RunSummary]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Runs:
    """Runs of one home: a first one, and others that differ from it in one thing each."""
    folder = tmp_path_factory.mktemp("compare")
    models = [str(make_tiny_model(folder / name, seed=seed)) for seed, name in enumerate(("model", "other"))]
    first = {
        "name": "tiny",
        "model": models[0],
        "problem": {"name": "largest_number", "options": {"below": 9, "count": 2}},
        "data": {"selection": 24, "validation": 4, "test": 40},
        "population": {"size": 12, "sigmas": [0.1, 0.3]},
        "decoding": {"max_tokens": 8},
        "engine": {"kind": "transformers", "device": "cpu"},
        "selection": {"k_values": [3]},
        "controls": {"temperature": 1.0, "best_prompt": False, "weight_average": False},
        "storage": {"home": str(folder / "home")},
    }
    options = {"below": 9, "count": 3}
    off = {"controls": dict.fromkeys(("self_consistency", "random_experts", "weight_average", "best_prompt"), False)}
    changes: dict[str, dict] = {
        "first": {},
        "seed": {"population": {"size": 12, "sigmas": [0.1, 0.3], "seed": 1}, "selection": {"k_values": [5]}},
        "problem": {"problem": {"name": "largest_number", "options": options}} | off,
        "wording": {"problem": {"name": "largest_number", "options": {"below": 9, "count": 2}, "system": "Hi"}} | off,
        "questions": {"data": {"selection": 24, "validation": 4, "test": 40, "seed": 1}} | off,
        "noise": {"problem": {"name": "largest_number", "options": options}, "noise": {"family": "rademacher"}} | off,
        "model": {"model": models[1]} | off,
    }
    return {name: randopt(parse_config(first | change)) for name, change in changes.items()}


@pytest.fixture
def side_by_side(runs: Runs) -> Callable[..., Comparison]:
    home = Home(runs["first"].folder.parents[1])
    return lambda *names: compare(home, [runs[name].run_id for name in names])


def correct(run: RunSummary, who: list[str]) -> np.ndarray:
    """Answers on the test split, read from the shards: `[n_who, n_examples]` of answer and correct."""
    home = Home(run.folder.parents[1])
    frame = answers_in(home.shards(run.fingerprint))
    with open_scores(home, find_run(home, run.run_id)) as reader:
        order = reader.questions("test").select("example_id")
    rows = []
    for name in who:
        of_one = frame.filter((pl.col("candidate_id") == name) & (pl.col("split") == "test"))
        rows.append(order.join(of_one, on="example_id", maintain_order="left").select("answer", "correct").rows())
    return rows


def vote_by_hand(run: RunSummary) -> list[bool]:
    """The majority, the better ranked expert's answer among equals."""
    names = [f"{int(expert.seed):016x}@{expert.sigma!r}" for expert in run.experts]
    won = []
    for ballots in zip(*correct(run, names), strict=True):
        answers = [answer for answer, _ in ballots if answer is not None]
        best = max(answers, key=lambda answer: (answers.count(answer), -answers.index(answer)), default=None)
        won.append(any(right for answer, right in ballots if answer == best and answer is not None))
    return won


def test_a_difference_is_that_of_the_stored_votes(runs: Runs, side_by_side: Callable[..., Comparison]) -> None:
    found = side_by_side("first", "seed")
    ours, theirs = vote_by_hand(runs["first"]), vote_by_hand(runs["seed"])
    [pair] = found.pairs
    assert pair.difference == paired_difference(ours, theirs)
    assert pair.difference.n == 40
    difference = runs["first"].evaluation.ensemble.value - runs["seed"].evaluation.ensemble.value
    assert pair.difference.value == pytest.approx(difference)
    gained, lost = np.greater(ours, theirs).sum(), np.less(ours, theirs).sum()
    assert f"({gained} gained, {lost} lost)" in pair.sentence
    p = 1.0 if gained + lost == 0 else stats.binomtest(int(gained), int(gained + lost)).pvalue
    assert pair.sentence.endswith(f"McNemar's test: p = {p:.2g}.")
    assert pair.sentence.startswith(f"The ensemble of {runs['first'].run_id} is ")


def test_the_columns_hold_what_the_runs_found(runs: Runs, side_by_side: Callable[..., Comparison]) -> None:
    found = side_by_side("seed", "first")
    assert [run.run_id for run in found.runs] == [runs["seed"].run_id, runs["first"].run_id]
    for run, summary in zip(found.runs, (runs["seed"], runs["first"]), strict=True):
        evaluation = summary.evaluation
        rows = {row.name: row for row in run.rows}
        assert rows["ensemble"].accuracy == evaluation.ensemble
        assert rows["base"].accuracy == evaluation.base
        assert rows["best_single"].accuracy == evaluation.best_single
        for control in evaluation.controls:
            assert (rows[control.name].accuracy, rows[control.name].n_tokens) == (control.accuracy, control.n_tokens)
        assert run.gain == evaluation.ensemble_minus_base
        assert (run.k, run.rule, run.n_candidates) == (evaluation.k, evaluation.rule, 12)
        assert run.n_tokens == sum(summary.n_tokens.values())
    changed = {each.field: each.values for each in found.config}
    assert changed == {"population.seed": (1, 0), "selection.k_values": ([5], [3])}


@pytest.mark.parametrize(
    ("other", "why"), [("problem", "they answered other problems"), ("questions", "they answered other test questions")]
)
def test_other_questions_have_no_difference(side_by_side: Callable[..., Comparison], other: str, why: str) -> None:
    [pair] = side_by_side("first", other).pairs
    assert pair.difference is None
    assert why in pair.sentence
    assert "points" not in pair.sentence


def test_the_same_questions_in_other_words_are_paired(side_by_side: Callable[..., Comparison]) -> None:
    found = side_by_side("first", "wording")
    assert found.pairs[0].difference is not None
    assert found.discordance.reason is None


def test_discordance_is_over_the_candidates_that_both_scored(
    runs: Runs, side_by_side: Callable[..., Comparison]
) -> None:
    found = side_by_side("first", "problem").discordance
    assert [(each.sigma, each.n_candidates) for each in found.sigmas] == [(0.1, 6), (0.3, 6)]
    home = Home(runs["first"].folder.parents[1])
    boards = []
    for name in ("first", "problem"):
        with open_scores(home, find_run(home, runs[name].run_id)) as reader:
            boards.append(reader.leaderboard("selection").sort("seed"))
    assert boards[0]["candidate_id"].equals(boards[1]["candidate_id"])
    n_valued = 0
    for each in found.sigmas:
        scores = [board.filter(pl.col("sigma") == each.sigma)["n_correct"].to_list() for board in boards]
        if each.value is None:
            assert min(len(set(column)) for column in scores) == 1
            continue
        n_valued += 1
        assert each.value == pytest.approx(1 - stats.spearmanr(*scores).statistic)
        experts = [sum(e.sigma == each.sigma for e in runs[name].experts) for name in ("first", "problem")]
        assert list(each.n_experts) == experts
        # The runs ask the same kind of problem, so their labels are their ids.
        assert [task.task for task in each.tasks] == [runs["first"].run_id, runs["problem"].run_id]
    assert n_valued > 0, "the tiny model ranks nobody; nothing was compared"


def test_the_map_is_that_of_the_stored_answers(runs: Runs) -> None:
    home = Home(runs["first"].folder.parents[1])
    names = ("first", "problem")
    found = make_map(home, [runs[name].run_id for name in names])
    assert not isinstance(found, str)
    boards, base, test = [], [], []
    for name in names:
        with open_scores(home, find_run(home, runs[name].run_id)) as reader:
            boards.append({row["candidate_id"]: row["n_correct"] for row in reader.leaderboard("selection").to_dicts()})
            base.append(reader.common_base("selection").n_correct)
            ids = [f"{int(expert.seed):016x}@{expert.sigma!r}" for expert in runs[name].experts]
            test.append(
                (reader.answers("test", ids)["correct"].mean(), reader.answers("test", ["base"])["correct"].mean())
            )
            assert reader.answers("selection", ["base"])["score"].to_list() == reader.base_outcomes("selection")
    assert [task.n_questions for task in found.tasks] == [24, 24]
    assert [task.base for task in found.tasks] == pytest.approx([count / 24 for count in base])
    assert [len(each.candidates) for each in found.sigmas] == [6, 6]
    experts = [{f"{int(each.seed):016x}@{each.sigma!r}" for each in runs[name].experts} for name in names]
    for row in (row for each in found.sigmas for row in each.candidates):
        gaps = [(board[row.candidate_id] - own) / 24 for board, own in zip(boards, base, strict=True)]
        assert row.over_base == pytest.approx(gaps)
        assert row.is_expert == tuple(row.candidate_id in each for each in experts)
    for place, one in enumerate(found.tasks):
        for column, other in enumerate(found.tasks):
            transfer = found.transfer(one.task, other.task)
            assert transfer is not None
            if place == column:
                expected, n = test[place][0] - test[place][1], 40
            else:
                theirs = [boards[column][name] for name in experts[place]]
                expected, n = sum(theirs) / len(theirs) / 24 - base[column] / 24, 24
            assert (transfer.difference.value, transfer.difference.n) == (pytest.approx(expected), n)


def test_there_is_no_map_where_candidates_are_not_the_same(runs: Runs) -> None:
    home = Home(runs["first"].folder.parents[1])
    why = make_map(home, [runs["first"].run_id, runs["model"].run_id])
    assert why == "the runs search around different base models"
    apart = make_map(home, [runs["seed"].run_id, runs["problem"].run_id])
    assert not isinstance(apart, str)
    assert (apart.sigmas, apart.transfer(apart.tasks[0].task, apart.tasks[1].task)) == ((), None)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("first", "seed"), "all runs have the same problem"),
        (("first", "model"), "the runs search around different base models"),
        (("first", "noise"), "the runs make different noise of the same seeds"),
    ],
)
def test_no_discordance_has_a_reason(side_by_side: Callable[..., Comparison], names: tuple, reason: str) -> None:
    found = side_by_side(*names)
    assert (found.discordance.sigmas, found.discordance.reason) == ((), reason)
    assert f"No discordance: {reason}." in comparison_markdown(found)


def test_populations_without_a_common_candidate_have_a_reason_per_sigma(
    side_by_side: Callable[..., Comparison],
) -> None:
    found = side_by_side("seed", "problem").discordance
    assert [each.reason for each in found.sigmas] == ["0 candidates in common; 3 are the fewest that can be ranked"] * 2


def test_more_than_two_runs_are_compared_pair_by_pair(runs: Runs, side_by_side: Callable[..., Comparison]) -> None:
    found = side_by_side("first", "seed", "problem")
    ids = [runs[name].run_id for name in ("first", "seed", "problem")]
    assert [(pair.ours, pair.theirs) for pair in found.pairs] == [(ids[0], ids[1]), (ids[0], ids[2]), (ids[1], ids[2])]
    assert len(found.discordance.sigmas) == 2  # of the two problems; the population of `first` speaks for the first


def test_the_terminal_shows_it_and_json_is_all_of_it(thickets, runs: Runs) -> None:
    home = str(runs["first"].folder.parents[1])
    ids = [runs[name].run_id for name in ("first", "seed")]
    status, out, err = thickets("compare", *ids, "--home", home)
    assert (status, err) == (0, "")
    words = (
        "self-consistency",
        "(3 samples at t = 1)",
        "(5 samples at t = 1)",
        "best single expert",
        "population.seed",
    )
    for text in (*ids, *words, "McNemar's test", "gain, ensemble over base", "No discordance: all runs"):
        assert text in out
    found = Comparison.model_validate_json(thickets("compare", *ids, "--home", home, "--json")[1])
    assert found == compare(Home(Path(home)), ids)
    assert thickets("compare", ids[0], "latest", "--home", home)[0] == 0
    assert "Example: " in thickets("compare", "--help")[1]


def test_bad_names_are_one_line(thickets, runs: Runs) -> None:
    home, run = str(runs["first"].folder.parents[1]), runs["first"].run_id
    assert refused(thickets("compare", run, "--home", home)) == "RUN: found 1; a comparison takes two runs or more"
    assert refused(thickets("compare", run, run, "--home", home)).startswith(f"RUN: {run} is named 2 times")
    assert refused(thickets("compare", run, "nonesuch", "--home", home)).startswith("RUN: 'nonesuch' fits no run")
    assert refused(thickets("compare", run, "tiny", "--home", home)).startswith("RUN: 'tiny' fits tiny-")


@pytest.fixture
def put_back(runs: Runs) -> Iterator[Path]:
    """The summary of a run, which a test may spoil."""
    summary = runs["seed"].folder / "summary.json"
    content = summary.read_text()
    yield summary
    summary.write_text(content)


def test_an_unfinished_run_is_refused(thickets, runs: Runs, put_back: Path) -> None:
    put_back.unlink()
    arguments = ("compare", runs["first"].run_id, runs["seed"].run_id, "--home", str(put_back.parents[2]))
    assert refused(thickets(*arguments)).startswith(f"RUN: {runs['seed'].run_id} is not finished")


def test_answers_that_do_not_give_the_stored_result_are_told(
    runs: Runs, side_by_side: Callable[..., Comparison], put_back: Path
) -> None:
    content = json.loads(put_back.read_text())
    content["evaluation"]["ensemble"]["n_correct"] += 1
    put_back.write_text(json.dumps(content))
    with pytest.raises(RunError, match=rf"the stored answers of {runs['seed'].run_id} give .* run its config again"):
        side_by_side("first", "seed")


def test_only_what_differs_in_the_configurations_is_listed() -> None:
    one = {"a": {"x": 0, "y": {}}, "b": [1], "new": False}
    other = {"a": {"x": None, "y": {"z": 2}}, "b": [1]}
    found = {each.field: each.values for each in config_differences([one, other])}
    assert found == {"a.x": (0, None), "a.y.z": (None, 2), "new": (False, None)}


def test_no_run_is_not_two(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no runs"):
        compare(Home(tmp_path), ["latest", "latest"])


def test_the_page_has_the_questions_that_one_of_two_runs_gets(runs: Runs) -> None:
    home, pair = Home(runs["first"].folder.parents[1]), [runs["first"], runs["seed"]]
    pages = TestClient(make_app(home, Address("127.0.0.1", 4300)), base_url="http://127.0.0.1:4300")
    found = compare(home, [run.run_id for run in pair]).pairs[0].difference
    assert found is not None
    assert found.n_better + found.n_worse > 0
    names = [("run", run.run_id) for run in pair]
    html = pages.get("/compare", params=names).text
    assert f"<b>{found.n_better}</b> {pair[0].run_id} alone" in html
    assert f"<b>{found.n_worse}</b> {pair[1].run_id} alone" in html
    opened = re.findall(r'data-open href="([^"]+)"', html)
    assert len(opened) == found.n_better + found.n_worse
    assert pages.get(opened[0]).status_code == 200
    rows = pl.read_csv(io.BytesIO(pages.get("/compare/questions.csv", params=[*names, ("show", "first")]).content))
    assert rows.select("ours_correct", "theirs_correct").unique().rows() in ([(True, False)], [])
    assert rows.height == found.n_better
    results = pl.read_parquet(io.BytesIO(pages.get("/compare/results.parquet", params=names).content))
    assert set(results["run_id"]) == {run.run_id for run in pair}
    settings = pl.read_csv(io.BytesIO(pages.get("/compare/settings.csv", params=names).content))
    assert "population.seed" in settings["field"].to_list()


def test_the_page_of_runs_with_other_test_questions_lists_none(runs: Runs) -> None:
    home, three = Home(runs["first"].folder.parents[1]), ("first", "seed", "questions")
    pages = TestClient(make_app(home, Address("127.0.0.1", 4300)), base_url="http://127.0.0.1:4300")
    names = [("run", runs[name].run_id) for name in three]
    html = pages.get("/compare", params=names).text
    assert html.count("that one of them alone gets") == 1  # of three pairs
    assert "they answered other test questions" in html
    assert "Who gets" not in pages.get("/compare", params=[names[0], names[2]]).text
    refused = pages.get("/compare/questions.csv", params=[names[0], names[2]])
    assert refused.status_code == 404
    assert "name two runs with the same test questions" in refused.text
