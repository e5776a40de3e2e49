"""A finished run that never ran: drawn scores (`benchmarks.synthetic_scores`) in the files that a search leaves.

Completions, verdicts, database, prompts and summary are as a run writes them; selection and evaluation are the real
ones. No model, engine or server takes part, so that runs of any size can be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.synthetic_scores import SITUATIONS, SyntheticScores, synthetic_scores
from thickets.flows.results.summary import EngineUse, ExpertRow, RunSummary, SigmaRow, TrackingLinks
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import Home, RunFolder
from thickets.storage.scores.database import BASE_ID, BASE_POSITION, ScoreStore
from thickets.storage.shards.file import SHARD_SCHEMA, VERDICT_SCHEMA, verdicts_name, write_shard
from thickets.tasks.evaluation.ensemble import curve_points, evaluate
from thickets.tasks.evaluation.thicket import describe
from thickets.tasks.evaluation.voting import ballots
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.problems.judging import Judge
from thickets.tasks.results.evaluation import VoteRule
from thickets.tasks.selection.ranking import top_k
from thickets.tasks.statistics import accuracy
from thickets.tasks.types import Example

RUN = "synthetic-00000000"
_PER_SHARD = 64
_SPLITS = ("selection", "validation", "test")
_JUDGEMENT = {"made": "up"}
_FINGERPRINT = fingerprint(_JUDGEMENT)
_TEXTS = {
    "right": "the dog ran home in the rain",
    "a": "the dog ran away",
    "b": "the dog slept at home",
    "c": "it rained",
    "d": "a cat came home in the rain",
}


def make_run(
    home: Path,
    size: int,
    sizes: tuple[int, int, int],
    k: int,
    rule: VoteRule = "majority",
    *,
    metric: str | None = None,
    by_likelihood: bool = False,
    seed: int = 0,
) -> RunSummary:
    """Write a run into a home.

    Args:
        home: An empty folder.
        size: Candidates.
        sizes: Questions of the selection, validation and test split.
        k: Experts that vote; they alone answer the validation and test splits, and the base.
        rule: The vote rule.
        metric: The answers are texts, and the closest by this similarity wins; None: letters, and votes are counted.
        by_likelihood: What the summary says of how answers came about.
        seed: Seed of the scores.
    """
    table = synthetic_scores(SITUATIONS["as quickstart"], size, sizes, seed)
    run, shards = Home(home).run(RUN).create(), Home(home).shards(_FINGERPRINT)
    examples = _examples(sizes)
    _record(run, examples, size)
    base = pl.DataFrame([(BASE_ID, None, 0.0, BASE_POSITION)], schema=table.population.schema, orient="row")
    who = pl.concat([base, table.population])
    answers = _Answers(table, examples, who["candidate_id"], shards, metric)
    with ScoreStore.open(run.scores, RUN, shards) as store:
        store.register(who, examples)
        store.ingest(answers.write("selection", range(size + 1)))
        ranked = top_k(store, k)
        places = [0, *(who["candidate_id"].index_of(each) or 0 for each in ranked["candidate_id"])]
        for split in _SPLITS[1:]:
            store.ingest(answers.write(split, places))
        summary = _summary(store, run, ranked, k, rule, metric, by_likelihood)
    run.summary.write_text(summary.model_dump_json(indent=2))
    return summary


class _Answers:
    """Writes answers of some respondents as shards and verdicts."""

    def __init__(
        self, table: SyntheticScores, examples: pl.DataFrame, ids: pl.Series, shards: Path, metric: str | None
    ) -> None:
        self._table, self._examples, self._ids, self._shards, self._metric = table, examples, ids, shards, metric
        self._rng = np.random.default_rng(1)

    def write(self, split: str, places: Sequence[int]) -> list[Path]:
        """Write the answers to a split of the respondents at some rows of the table; return the files of verdicts."""
        return [*self._written(split, places)]

    def _written(self, split: str, places: Sequence[int]) -> Iterator[Path]:
        columns = self._examples.with_row_index("column").filter(split=split)
        for start in range(0, len(places), _PER_SHARD):
            rows = [*places[start : start + _PER_SHARD]]
            frame = self._frame(split, rows, columns)
            name = f"{split}-0000-{start:016x}"
            write_shard(self._shards, name, frame.select(SHARD_SCHEMA.names()))
            folder = self._shards / verdicts_name(_FINGERPRINT)
            yield write_shard(folder, name, frame.select(VERDICT_SCHEMA.names()), VERDICT_SCHEMA)

    def _frame(self, split: str, rows: list[int], columns: pl.DataFrame) -> pl.DataFrame:
        at = np.ix_(rows, columns["column"].to_numpy())
        n = len(rows) * columns.height
        answer: NDArray[np.object_] = self._table.votes[at].ravel()
        if self._metric is not None:
            answer = np.array([_TEXTS[each] for each in answer], dtype=object)
        abstains = self._rng.random(n) < 0.02
        correct = self._table.correct[at].ravel() & ~abstains
        length = self._rng.integers(30, 101, n)
        loops = self._rng.random(n) < 0.03
        said = [_reply(tokens, word, is_loop) for tokens, word, is_loop in zip(length, answer, loops, strict=True)]
        return pl.DataFrame(
            {
                "candidate_id": np.repeat(self._ids[rows].to_numpy(), columns.height),
                "split": split,
                "block": pl.repeat(0, n, dtype=pl.UInt32, eager=True),
                "example_id": pl.concat([columns["example_id"]] * len(rows)),
                "score": pl.Series(1000 * correct, dtype=pl.UInt16),
                "correct": correct,
                "answer": pl.Series([*answer], dtype=pl.String).set(pl.Series(abstains), None),
                "n_tokens": pl.Series(length, dtype=pl.UInt32),
                "finish_reason": np.where(loops | (length == 100), "length", "stop"),
                "completion": said,
            }
        )


def _reply(n_tokens: int, answer: str, is_loop: bool) -> str:
    """Write a reply of about as many tokens: a loop, or so many different words and the answer."""
    if is_loop:
        return "So we take the next number. " * (n_tokens // 7 + 4)
    return " ".join(f"w{(31 * word + n_tokens) % 997}" for word in range(n_tokens)) + f" The answer is {answer}."


def _examples(sizes: tuple[int, int, int]) -> pl.DataFrame:
    rows = [
        (split, f"{split}-{n:05d}", n, 0, f"Question {n} of the {split} split: which of five words is it?", "right")
        for split, size in zip(_SPLITS, sizes, strict=True)
        for n in range(size)
    ]
    names = ["split", "example_id", "position", "block", "question", "answer"]
    return pl.DataFrame(rows, schema=names, orient="row")


def _record(run: RunFolder, examples: pl.DataFrame, size: int) -> None:
    """Write what a run writes when it begins."""
    run.config.write_text(
        f"model: tiny\nproblem: {{name: file, path: unread.jsonl, verifier: exact}}\npopulation: {{size: {size}}}\n"
    )
    run.begun.write_text("2026-01-01T00:00:00+00:00\n")
    run.fingerprint.write_text(f"{_FINGERPRINT}\n")
    run.judgement.write_text(json.dumps(_JUDGEMENT))
    prompt = "[user] " + pl.col("question") + "\n[assistant] "
    prompts = examples.select("split", "example_id", pl.col("position").cast(pl.Int32), prompt=prompt)
    n_tokens = pl.col("prompt").str.len_chars().cast(pl.UInt32)
    prompts.with_columns(n_tokens=n_tokens, image=pl.lit(None, pl.String)).write_parquet(run.prompts)


def _summary(
    store: ScoreStore,
    run: RunFolder,
    ranked: pl.DataFrame,
    k: int,
    rule: VoteRule,
    metric: str | None,
    by_likelihood: bool,
) -> RunSummary:
    consensus = Consensus(metric)
    word = {"verifier": "similarity"} if metric else {"verifier": "exact"}
    judge = Judge(load_problem(ProblemConfig.model_validate({"name": "file", "path": "unread.jsonl", **word})))
    test = [Example(*row) for row in store.questions("test").iter_rows()]
    cast = ballots(store, "validation", ranked)
    return RunSummary(
        run_id=RUN,
        fingerprint=_FINGERPRINT,
        folder=run.root,
        model="tiny",
        model_sha256="0" * 64,
        problem="made up",
        n_candidates=store.totals("selection")["n_candidates"].item(),
        split_sizes={split: store.questions(split).height for split in _SPLITS},
        base_selection=accuracy(*store.common_base("selection")),
        sigmas=_sigmas(store),
        validation_curve=curve_points(cast, [k], rule, consensus=consensus),
        evaluation=evaluate(store, ranked, k, rule, consensus=consensus),
        experts=tuple(
            ExpertRow.model_validate({**row, "seed": str(row["seed"]), "points": None})
            for row in ranked.iter_rows(named=True)
        ),
        n_tokens={},
        wall_s=0.0,
        engine=EngineUse(),
        tracking=TrackingLinks(
            mlflow_uri="", mlflow_run_id="", mlflow_address="", prefect_flow_run_id=None, prefect_address=None
        ),
        thicket=describe(store, judge, test, ranked, k, rule),
        version="0",
        by_likelihood=by_likelihood,
    )


def _sigmas(store: ScoreStore) -> tuple[SigmaRow, ...]:
    return tuple(
        SigmaRow(
            sigma=row["sigma"],
            n_candidates=row["n_candidates"],
            mean_accuracy=row["mean_points"] / (1000 * row["n_examples"]),
            max_accuracy=row["max_points"] / (1000 * row["n_examples"]),
            n_at_least_base=row["n_at_least_base"],
        )
        for row in store.sigma_statistics("selection").iter_rows(named=True)
    )
