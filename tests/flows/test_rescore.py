"""`thickets rescore`: a run of its own from the answers of another, with no token that is there already."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest

from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run, load_summary, open_scores
from thickets.flows.results.sentences import findings
from thickets.flows.results.summary import RunSummary
from thickets.flows.search.rescoring import check_same_answers, rescore_config
from thickets.flows.search.verdict_change import describe_change
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.base import resolve_model
from thickets.storage.shards.file import list_shards
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.largest_number import LargestNumber
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.types import FULL, JSON, Example

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]
OTHER_TAGS = "decoding.reasoning=[<thinking>, </thinking>]"


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Whom the engines are asked about from now on: each candidate and split."""
    asked: list[tuple[str, str]] = []
    answer_now = ScoringWorker._answer_now

    def counted(self: ScoringWorker, job: Any, place: int, upcoming: Any) -> Any:
        who = job.who[place]
        asked.append(("base" if who is None else who.id, job.block.split))
        return answer_now(self, job, place, upcoming)

    monkeypatch.setattr(ScoringWorker, "_answer_now", counted)
    return asked


def shards_of(run: RunSummary) -> Path:
    return Home(run.folder.parents[1]).shards(run.fingerprint)


def plan_of(config: RunConfig) -> RunPlan:
    problem, data = load_problem(config.single_problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=0)
    return make_plan(config, resolve_model(config.model), problem, splits)


def stamps(run: RunSummary) -> dict[Path, tuple[int, int]]:
    """Every file of completions and verdicts: when it was written, and as which file."""
    found = {path: path.stat() for path in shards_of(run).rglob("*.parquet")}
    return {path: (stat.st_mtime_ns, stat.st_ino) for path, stat in found.items()}


def edited(monkeypatch: pytest.MonkeyPatch, score: Callable[[str, Example], int]) -> None:
    """Another version of the problem's rules, with another score for each answer."""
    judgement = LargestNumber.judgement

    def of_version_99(self: LargestNumber) -> dict[str, JSON]:
        return {**judgement(self), "version": 99}

    monkeypatch.setattr(LargestNumber, "judgement", of_version_99)
    monkeypatch.setattr(LargestNumber, "score", lambda self, answer, example: score(answer, example))


def test_another_way_of_judging_generates_nothing_and_is_a_run_of_its_own(
    finished: RunSummary,
    config: MakeConfig,
    thickets: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = str(config().storage.home)
    before = stamps(finished)
    with monkeypatch.context() as planted:
        planted.setattr(ScoringWorker, "_built", lambda self: pytest.fail("an engine was built"))
        status, out, err = thickets(
            "rescore", "latest", "--set", "problem.pattern='[0-9]+'", "--set", OTHER_TAGS, "--json", "--home", home
        )
    assert status == 0, err
    again = load_summary(find_run(Home(Path(home)), json.loads(out)["run_id"]))
    assert again.run_id != finished.run_id
    assert again.fingerprint == finished.fingerprint
    assert again.evaluation == finished.evaluation
    assert (again.experts, again.n_tokens) == (finished.experts, finished.n_tokens)
    assert again.rescored_from == finished.run_id
    assert (again.engine.n_answers, again.engine.generate_s) == (0, 0.0)

    after = stamps(finished)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + len(list_shards(shards_of(finished))), "each shard has verdicts of both kinds"
    told = f"Compared with {finished.run_id}: "
    [line] = [line for line in findings(again) if line.startswith(told)]
    tags = 'reasoning ["<think>", "</think>"] -> ["<thinking>", "</thinking>"]'
    assert line.startswith(rf"{told}verifier regex: pattern \d+ -> [0-9]+, {tags}")
    with open_scores(Home(Path(home)), RunFolder(again.folder)) as reader:
        n = reader.query("select count(*) from scores").item()
        assert reader.query("select count(*) from completions").item() == n
    assert line.endswith(f": 0 of {n} verdicts differ.")
    assert line.removeprefix(told)[:-1] in err
    run = mlflow.MlflowClient(again.tracking.mlflow_uri).get_run(again.tracking.mlflow_run_id)
    assert run.data.tags["thickets.rescored_from"] == finished.run_id
    assert run.info.run_id != finished.tracking.mlflow_run_id
    manifests = [json.loads((each.folder / "manifest.json").read_text()) for each in (finished, again)]
    kept = [each["decoding"]["reasoning"] for each in manifests]
    assert kept == [["<think>", "</think>", False], ["<thinking>", "</thinking>", False]]


def test_an_edited_verifier_asks_only_candidates_that_were_not_asked_yet(
    finished: RunSummary, config: MakeConfig, generated: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = pl.concat([pl.read_parquet(path) for path in list_shards(shards_of(finished))])
    asked = set(known.select("candidate_id", "split").unique().rows())
    edited(monkeypatch, lambda answer, example: FULL * (answer != example.answer))
    home = Home(config().storage.home)
    settled = rescore_config(home, RunFolder(finished.folder), [])
    again = randopt(settled, rescored_from=finished.run_id)
    assert again.experts != finished.experts, "the test shows nothing if the same ones are selected"
    assert generated, "other candidates answer validation and test questions"
    assert not set(generated) & asked
    assert not {split for _, split in generated} & {"selection"}

    change = again.changed_verdicts
    assert change is not None
    assert change.run_id == finished.run_id
    assert change.what.startswith("verifier regex: version ")
    assert change.n == known.height
    wrong = known.height - change.n_lost - change.n_gained - change.n_read - change.n_graded
    assert 0 < change.n_lost < change.n_gained, "what was right is wrong, and what was wrong and an answer is right"
    assert wrong > 0, "abstentions stay what they were"

    generated.clear()
    assert randopt(settled, rescored_from=finished.run_id).changed_verdicts is not None
    assert not generated


def test_what_would_need_other_answers_is_refused_and_leaves_nothing_behind(
    finished: RunSummary,
    config: MakeConfig,
    thickets: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = str(config().storage.home)

    def refused(*overrides: str) -> str:
        sets = [part for override in overrides for part in ("--set", override)]
        status, out, err = thickets("rescore", "latest", *sets, "--home", home)
        assert (status, out) == (2, "")
        [line] = [line for line in err.splitlines() if line.startswith("error: ")]
        return line

    assert "decoding.max_tokens was 8 and is 9" in refused("decoding.max_tokens=9")
    assert "the prompts of the selection split are others" in refused("problem.instruction='{question}'")
    assert "decoding.max_tokens: learned would change" in refused("decoding.max_tokens=learned")
    assert f"this is how {finished.run_id} was judged" in refused()

    def raises(answer: str, example: Example) -> int:
        raise InputError("planted")

    before = stamps(finished)
    edited(monkeypatch, raises)
    assert refused() == "error: planted"
    assert stamps(finished) == before, "what was generated and judged stays"
    home_of = Home(Path(home))
    assert load_summary(find_run(home_of, finished.run_id)).run_id == finished.run_id


def test_another_verifier_keeps_the_prompt_and_the_length_that_came_with_the_first(
    config: MakeConfig, tmp_path: Path
) -> None:
    rows = [{"question": f"{n} + 1?", "answer": str(n + 1)} for n in range(40)]
    (tmp_path / "sums.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    section = {"name": "file", "path": str(tmp_path / "sums.jsonl"), "verifier": "numeric"}
    asked = config(problem=section, decoding={"stop": ["###"]})
    home = Home(asked.storage.home)
    numeric = plan_of(asked)
    folder = home.run(numeric.run_id).create()
    folder.config.write_text(dump_config(asked))
    folder.identity.write_text(json.dumps(numeric.identity))

    exact = plan_of(rescore_config(home, folder, ["problem.verifier=exact"]))
    check_same_answers(exact, numeric.run_id)
    assert exact.fingerprint == numeric.fingerprint
    assert exact.verdicts != numeric.verdicts
    assert exact.run_id != numeric.run_id
    assert exact.sampling == numeric.sampling
    alone = plan_of(config(problem={**section, "verifier": "exact"}, decoding={"stop": ["###"]}))
    assert alone.fingerprint != numeric.fingerprint, "without the pins it is another prompt and another length"
    with pytest.raises(InputError, match=r"decoding\.max_tokens was \d+ and is 3"):
        check_same_answers(plan_of(rescore_config(home, folder, ["decoding.max_tokens=3"])), numeric.run_id)


def test_a_change_is_told_in_a_few_words() -> None:
    judge: dict[str, Any] = {"verifier": "numeric", "version": 1, "reasoning": ["<think>", "</think>"]}
    numeric = {"judge": judge, "gold": {"a": "x"}}

    def changed(**changes: Any) -> dict[str, Any]:
        return {**numeric, "judge": {**judge, **changes}}

    assert describe_change(numeric, changed(verifier="math", version=7)) == "verifier numeric -> math"
    assert describe_change(numeric, changed(version=2)) == "verifier numeric: version 1 -> 2"
    assert describe_change(numeric, changed(source="ab" * 32)) == "verifier numeric: source changed"
    assert describe_change(numeric, {**numeric, "gold": {"a": "y"}}) == "verifier numeric: gold answers changed"
