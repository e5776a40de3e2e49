"""Several problems in one configuration: each a run as it would be alone, then the comparison; nothing scored twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from tests.flows.command_line import refused
from tests.flows.tiny_run import ANY_DIGITS
from thickets.flows.config.file import dump_config, load_config, parse_config
from thickets.flows.config.preflight import check_inputs
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.randopt_many import randopt_many
from thickets.flows.results.compare import compare
from thickets.flows.results.comparison import Group
from thickets.flows.results.runs import list_runs
from thickets.flows.results.summary import RunSummary
from thickets.flows.search.estimate import estimate, estimate_many
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.storage.tracking.models import find_model
from thickets.tasks.scoring.worker import ScoringWorker

MakeConfig = Callable[..., RunConfig]

LARGEST = {"name": "largest_number", "options": {"below": 30, "count": 2}, **ANY_DIGITS}
OF_THREE = {"name": "largest_number", "options": {"below": 9, "count": 3}, **ANY_DIGITS}
MANY = {"problem": None, "problems": [LARGEST, OF_THREE]}


def outcome(summary: RunSummary) -> dict:
    return summary.model_dump(exclude={"wall_s", "engine", "tracking", "folder"})


@pytest.mark.usefixtures("prefect_server")
def test_several_problems_are_compared_and_share_their_shards_with_runs_of_one(
    config: MakeConfig, finished: RunSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the home of a finished run of the first problem: only the second is scored."""
    second = make_only(OF_THREE, monkeypatch)
    found = randopt_many(config(**MANY))
    assert second
    assert found.runs[0].run_id == finished.run_id
    monkeypatch.setattr(ScoringWorker, "score", lambda self, shard: pytest.fail(f"{shard.id} was scored again"))
    home = Home(config().storage.home)
    assert compare(home, [run.run_id for run in found.runs]) == found
    [kept] = (home.root / "groups").iterdir()
    group = Group.model_validate_json((kept / "comparison.json").read_text())
    assert (group.run_ids, group.comparison) == (tuple(run.run_id for run in found.runs), found)
    page = (kept / "report.html").read_text(encoding="utf-8")
    assert all(run.run_id in page for run in found.runs)
    assert "Candidates by tasks" in page


def make_only(problem: dict, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have nothing but this problem scored; gives the shards, as they are."""
    score, scored = ScoringWorker.score, []

    def checked(self: ScoringWorker, shard):  # type: ignore[no-untyped-def]
        assert self._judge.problem.identity()["count"] == problem["options"]["count"], f"{shard.id} was scored again"
        scored.append(shard.id)
        return score(self, shard)

    monkeypatch.setattr(ScoringWorker, "score", checked)
    return scored


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.slow
def test_each_problem_is_the_run_it_would_be_alone_and_is_not_scored_again(
    config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = config(**MANY)
    home = Home(many.storage.home)
    found = randopt_many(many)
    alone = [randopt(config(problem=each, storage={"home": str(tmp_path / "alone")})) for each in (LARGEST, OF_THREE)]
    assert [run.run_id for run in found.runs] == [each.run_id for each in alone]

    monkeypatch.setattr(ScoringWorker, "score", lambda self, shard: pytest.fail(f"{shard.id} was scored again"))
    # Alone, in the home of the group: what the group has scored is shared.
    assert [outcome(randopt(config(problem=each))) for each in (LARGEST, OF_THREE)] == [outcome(run) for run in alone]
    assert randopt_many(many) == found
    assert compare(home, [run.run_id for run in found.runs]) == found

    [kept] = (home.root / "groups").iterdir()
    group = Group.model_validate_json((kept / "comparison.json").read_text())
    assert (group.group_id, group.comparison) == (kept.name, found)
    assert group.run_ids == tuple(run.run_id for run in found.runs)
    assert {row.run_id for row in list_runs(home)} == set(group.run_ids)

    client = mlflow.MlflowClient(f"sqlite:///{home.mlflow_db.resolve()}")
    parents = client.search_runs(["1"], f"tags.`thickets.run_id` = '{group.group_id}'")
    assert [run.info.status for run in parents] == ["FINISHED", "FINISHED"]
    for run_id in group.run_ids:
        model = find_model(client, "1", run_id, "ensemble")
        assert model is not None
        assert client.get_run(model.source_run_id).data.tags["thickets.run_id"] == run_id
    for parent in parents:
        children = client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
        assert {run.data.tags["thickets.run_id"] for run in children} == set(group.run_ids)
        assert "comparison.json" in {item.path for item in client.list_artifacts(parent.info.run_id)}
        for each in found.discordance.sigmas:
            if each.value is not None:
                logged = parent.data.metrics[f"discordance.sigma_{each.sigma:g}"]
                assert logged == pytest.approx(each.value)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.slow
def test_the_command_goes_on_where_a_problem_failed(
    thickets, my_yaml, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = my_yaml(**MANY)
    home = str(config().storage.home)
    score, scored = ScoringWorker.score, []

    def fail_in_the_second(self: ScoringWorker, shard):
        if self._judge.problem.identity()["count"] == 3:
            raise InputError("planted")
        scored.append(shard.id)
        return score(self, shard)

    with monkeypatch.context() as planted:
        planted.setattr(ScoringWorker, "score", fail_in_the_second)
        assert refused(thickets("run", path)) == "planted"
    first = set(scored)
    assert first
    assert not Path(home, "groups").exists()

    def record(self: ScoringWorker, shard):
        assert self._judge.problem.identity()["count"] == 3, "the first problem was scored again"
        return score(self, shard)

    monkeypatch.setattr(ScoringWorker, "score", record)
    status, out, err = thickets("run", path)
    assert status == 0
    ids = [row["run_id"] for row in json.loads(thickets("runs", "--home", home, "--json")[1])]
    assert len(ids) == 2
    for words in (*ids, "gain, ensemble over base", "problem.options.count", "other problems", "iscordance at sigma"):
        assert words in out
    assert "comparison of 2 problems in " in err


def test_the_comparison_survives_json(config: MakeConfig) -> None:
    path = config(**MANY)
    assert parse_config(json.loads(path.model_dump_json())) == path


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"problem": None}, "problem: missing; name one problem, or at least two as problems: [...]"),
        ({"problems": [LARGEST, OF_THREE]}, "problem is largest_number and problems names 2 more; keep one"),
        ({"problem": None, "problems": [LARGEST]}, "problems: found "),
        ({"problem": None, "problems": []}, "problems: found "),
        ({"problem": None, "problems": [LARGEST, OF_THREE, LARGEST]}, "problems[2] repeats problems[0]; each may"),
        ({"problem": None, "problems": [LARGEST, "gsm9k"]}, "problems[1]: problem.name is 'gsm9k'; allowed are"),
    ],
)
def test_one_problem_or_several_distinct_ones(config: MakeConfig, sections: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        config(**sections)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_several_are_read_back_from_yaml_and_split_into_one_each(config: MakeConfig, tmp_path: Path) -> None:
    many = config(**MANY)
    (tmp_path / "many.yaml").write_text(dump_config(many))
    assert load_config(str(tmp_path / "many.yaml")) == many
    assert many.per_problem == (config(problem=LARGEST), config(problem=OF_THREE))
    assert config().per_problem == (config(),)
    removed = load_config(
        "quickstart", ["problem=null", "problems=[largest_number, {name: largest_number, system: Hi}]"]
    )
    assert len(removed.per_problem) == 2


@pytest.mark.usefixtures("prefect_server")
def test_each_flow_names_the_other(config: MakeConfig) -> None:
    with pytest.raises(InputError, match=r"^problems: found 2 where one is wanted; .*`thickets\.search`"):
        randopt(config(**MANY))
    with pytest.raises(InputError, match=r"^problems: missing; .*`thickets\.search`"):
        randopt_many(config())
    assert not config().storage.home.joinpath("runs").exists()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            {"name": "largest_number", "options": {"below": 4, "count": 3}},
            "problems[1]: problem.options count=3, below=4",
        ),
        ({"name": "file", "path": "nowhere.jsonl"}, "problems[1]: problem.path"),
        (
            {**LARGEST, "instruction": "{question} Reply with just the number."},
            "problems[1] asks the same as problems[0]",
        ),
    ],
)
def test_every_problem_is_checked_before_anything_is_computed(
    thickets, my_yaml, config: MakeConfig, second: dict, message: str
) -> None:
    several = {"problem": None, "problems": [LARGEST, second]}
    with pytest.raises(InputError) as error:
        check_inputs(config(**several))
    assert str(error.value).startswith(message)
    for command in ("run", "estimate"):
        assert refused(thickets(command, my_yaml(**several))).startswith(message)
    assert not config().storage.home.joinpath("runs").exists()


def test_an_estimate_adds_up_over_the_problems(thickets, my_yaml, config: MakeConfig) -> None:
    found = estimate_many(config(**MANY))
    one = estimate(config(problem=OF_THREE))
    assert [each.completions for each in found.problems] == [one.completions] * 2
    assert found.completions == {split: 2 * count for split, count in one.completions.items()}
    assert found.tokens_at_most == 2 * one.tokens_at_most
    assert found.tokens == sum(each.tokens for each in found.problems)
    assert found.seconds == pytest.approx(sum(each.seconds for each in found.problems))
    out = thickets("estimate", my_yaml(**MANY))[1]
    assert "2 problems on " in out
    assert "in all" in out
    assert len(json.loads(thickets("estimate", my_yaml(**MANY), "--json")[1])["problems"]) == 2


def test_a_command_for_one_problem_says_so(thickets, my_yaml) -> None:
    message = refused(thickets("parity", my_yaml(**MANY), "--b", "transformers"))
    assert message.startswith("problems: found 2 where one is wanted")
