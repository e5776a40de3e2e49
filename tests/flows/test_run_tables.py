"""SQL about a run's experts, votes, outcomes and prompts says what the run's own evaluation says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl
import pytest

from tests.flows.run_table_checks import check_tables
from thickets.flows.config.run import RunConfig
from thickets.flows.plan import make_plan
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.results.summary import RunSummary
from thickets.flows.search.beginning import record_prompts
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.base import resolve_model
from thickets.storage.scores.reader import ScoreReader
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits

MakeConfig = Callable[..., RunConfig]


@pytest.fixture
def scores(finished: RunSummary) -> Iterator[ScoreReader]:
    home = Home(finished.folder.parents[1])
    with open_scores(home, find_run(home, finished.run_id)) as reader:
        yield reader


def test_the_tables_say_what_the_evaluation_says(scores: ScoreReader, finished: RunSummary) -> None:
    check_tables(scores, finished)


def test_a_prompt_is_what_the_model_was_given(scores: ScoreReader) -> None:
    rows = scores.query(
        "SELECT prompt, n_tokens, image, question FROM prompts JOIN examples USING (run_id, split, example_id)"
    )
    assert all(question in prompt for prompt, _, _, question in rows.iter_rows())
    assert rows["n_tokens"].to_list() == [len(prompt) for prompt in rows["prompt"]]  # its tokens are characters
    assert rows["image"].null_count() == rows.height


def test_they_are_listed_and_described_before_any_is_made(scores: ScoreReader) -> None:
    names = {"experts", "votes", "outcomes", "prompts"}
    assert names <= {*scores.query("SHOW TABLES")["name"]}
    assert scores.query("DESCRIBE votes").height == 17
    assert scores.query("FROM query_table('votes')").height > 0
    assert scores.query("SELECT count(*) AS votes FROM scores")["votes"].item() > 0


def test_who_has_not_finished_hears_what_is_missing(finished: RunSummary) -> None:
    home, folder = Home(finished.folder.parents[1]), RunFolder(finished.folder)
    folder.summary.unlink()
    with open_scores(home, folder) as reader:
        assert not {"experts", "votes", "outcomes"} & {*reader.query("SHOW TABLES")["name"]}
        with pytest.raises(InputError, match=rf"^SQL: votes: run {finished.run_id} is not finished, and who votes"):
            reader.query("FROM votes")
        with pytest.raises(InputError, match=r"^SQL: experts: run"), reader.stream("FROM Experts"):
            pass
        assert reader.query("SELECT count(*) AS votes FROM scores")["votes"].item() > 0
        assert reader.query("FROM prompts").height > 0
    folder.summary.write_text('{"run_id": "of another version"}')
    folder.prompts.unlink()
    with open_scores(home, folder) as reader:
        with pytest.raises(InputError, match=r"^SQL: outcomes: .*summary.json does not fit this version"):
            reader.query("FROM outcomes")
        with pytest.raises(InputError, match=r"^SQL: prompts: run .* has recorded none"):
            reader.query("FROM prompts")
        assert reader.query("SELECT 1 AS outcomes")["outcomes"].item() == 1
    folder.prompts.write_bytes(b"no parquet")
    with open_scores(home, folder) as reader, pytest.raises(InputError, match=r"^SQL: prompts: cannot read"):
        reader.query("FROM prompts")


def test_a_run_of_an_earlier_version_gets_its_prompts_when_it_is_started_again(
    finished: RunSummary, config: MakeConfig
) -> None:
    folder = RunFolder(finished.folder)
    before = pl.read_parquet(folder.prompts)
    folder.prompts.unlink()
    made = config()
    problem = load_problem(made.single_problem)
    splits = draw_splits(problem, selection=12, validation=10, test=14, seed=made.data.seed)
    plan = make_plan(made, resolve_model(made.model), problem, splits)
    record_prompts(folder, plan.blocks, plan.template)
    assert pl.read_parquet(folder.prompts).equals(before)
