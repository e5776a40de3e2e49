"""Tokens spent thinking are counted where there are thoughts, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.queries import ScoreQueries
from thickets.storage.scores.sql import Params
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.evaluation.thinking import describe_thinking
from thickets.tasks.results.thinking import ThinkingCounts
from thickets.tasks.verifiers.thought import Thoughts

TAGS = Thoughts("<think>", "</think>")


class Kept(ScoreQueries):
    """Completions by respondent; a token is a character, as in the tiny model."""

    run_id = "run"

    def __init__(self, **texts: Sequence[str]) -> None:
        self._texts = texts

    def query(self, sql: str, params: Params = ()) -> pl.DataFrame:
        raise NotImplementedError

    def close(self) -> None:
        """There is nothing to close."""

    def answers(self, split: str, candidate_ids: Sequence[str]) -> pl.DataFrame:
        [who] = candidate_ids
        return self.completions(split, who).select("example_id", n_tokens=pl.col("completion").str.len_chars())

    def completions(self, split: str, candidate_id: str) -> pl.DataFrame:
        assert split == "test"
        texts = self._texts[candidate_id]
        rows = [(f"e{i}", text) for i, text in enumerate(texts)]
        return pl.DataFrame(rows, schema={"example_id": pl.String, "completion": pl.String}, orient="row")


@pytest.fixture(scope="module")
def template(tiny_model: Path) -> PromptTemplate:
    return PromptTemplate.from_folder(tiny_model)


def test_thoughts_of_base_and_experts_are_counted_apart(template: PromptTemplate) -> None:
    kept = Kept(
        **{BASE_ID: ["<think>ab</think>12", "12", "<think>abc"]},
        first=["<think>a</think>1", "2", "3"],
        second=["no</think>1", "<think>", ""],
    )
    found = describe_thinking(kept, ["first", "second"], TAGS, lambda: template.count)
    assert found is not None
    assert found.base == ThinkingCounts(n=3, n_thought=2, n_unfinished=1, n_tokens=31, n_thinking_tokens=27)
    assert found.experts == ThinkingCounts(n=6, n_thought=3, n_unfinished=1, n_tokens=37, n_thinking_tokens=33)
    assert found.sentence == (
        "Spent on thinking on the test split: by the base 87.1 % of 31 tokens (2 of 3 replies, 1 unfinished), "
        "by the experts 89.2 % of 37 tokens (3 of 6 replies, 1 unfinished)."
    )


def test_without_thoughts_nothing_is_counted_and_no_tokenizer_is_loaded() -> None:
    kept = Kept(**{BASE_ID: ["12", "3"]}, first=["1", "2"])

    def never() -> None:
        raise AssertionError

    assert describe_thinking(kept, ["first"], TAGS, never) is None
    thoughtful = Kept(**{BASE_ID: ["<think>a</think>12"]}, first=["1"])
    assert describe_thinking(thoughtful, ["first"], None, never) is None


def test_a_thought_that_the_prompt_opened_is_one_though_no_tag_is_in_the_reply(template: PromptTemplate) -> None:
    kept = Kept(**{BASE_ID: ["hm", "a</think>1"]}, first=["hm", "hm"])
    found = describe_thinking(kept, ["first"], TAGS._replace(is_open=True), lambda: template.count)
    assert found is not None
    assert found.base == ThinkingCounts(n=2, n_thought=2, n_unfinished=1, n_tokens=12, n_thinking_tokens=11)
    assert found.experts == ThinkingCounts(n=2, n_thought=2, n_unfinished=2, n_tokens=4, n_thinking_tokens=4)
    assert found.is_open


def test_replies_that_are_no_longer_kept_count_for_nothing(template: PromptTemplate) -> None:
    kept = Kept(**{BASE_ID: []}, first=["<think>a</think>1"])
    found = describe_thinking(kept, ["first"], TAGS, lambda: template.count)
    assert found is not None
    assert found.base.n == found.base.n_tokens == 0
    assert found.sentence.startswith("Spent on thinking on the test split: by the base nothing of 0 tokens (0 of 0")
