"""Aggregation: finished shards go into the run's score database, and what is still missing comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import polars as pl

from thickets.storage.errors import RunError
from thickets.storage.scores.database import BASE_ID, BASE_POSITION, CONTROL_POSITION, ScoreStore
from thickets.storage.shards.file import list_shards
from thickets.tasks.scoring.units import Block, candidate_id
from thickets.tasks.seeds import POPULATION_SCHEMA
from thickets.tasks.task import task
from thickets.tasks.types import Respondent

# Files per transaction: bounds the memory of taking in a large run that was scored before.
_FILES_PER_TRANSACTION = 256


class ScoreBook:
    """Where a run's scores are and what belongs to the run.

    The database is opened for each use and closed again, so that others can read it while the run goes on. Shards that
    were written elsewhere are brought to `shards` by `fetch` first, so that the database reads local files only.
    """

    def __init__(
        self,
        database: Path,
        shards: Path,
        run_id: str,
        population: pl.DataFrame,
        blocks: Iterable[Block],
        fetch: Callable[[Path], None] = lambda shards: None,
    ) -> None:
        self.database, self.shards, self.run_id = database, shards, run_id
        self._fetch = fetch
        base = pl.DataFrame([(BASE_ID, None, 0.0, BASE_POSITION)], schema=POPULATION_SCHEMA, orient="row")
        self._candidates = pl.concat([base, population])
        self.examples = examples_frame(blocks)
        self._is_registered = False

    def open(self) -> ScoreStore:
        """Open the database, which is the caller's to close."""
        return ScoreStore.open(self.database, self.run_id, self.shards)

    def register(self, controls: Iterable[Respondent]) -> None:
        """Let controls take part from the next `aggregate` on, which also takes in what they answered long ago.

        Who is on a control is known late (the ensemble's members after validation), so this may be called at any time.
        Whoever takes part already is passed over: the base, the candidates, a control once more.
        """
        ids = dict.fromkeys(map(candidate_id, controls))
        rows = [(name, None, 0.0, CONTROL_POSITION) for name in ids]
        self.enrol(pl.DataFrame(rows, schema=POPULATION_SCHEMA, orient="row"))

    def enrol(self, candidates: pl.DataFrame) -> None:
        """Let more candidates take part from the next `aggregate` on; those who do already are passed over.

        Args:
            candidates: As `thickets.tasks.seeds.population` gives them.
        """
        new = candidates.join(self._candidates, on="candidate_id", how="anti", maintain_order="left")
        self._candidates = pl.concat([self._candidates, new])
        self._is_registered = self._is_registered and new.is_empty()

    def aggregate(self) -> pl.DataFrame:
        """Take in every shard not taken in yet.

        Returns:
            Finished units: candidate_id, split, block.
        """
        self._fetch(self.shards)
        with self.open() as store:
            if not self._is_registered:
                store.register(self._candidates, self.examples)
                self._is_registered = True
            paths = list_shards(self.shards)
            for start in range(0, len(paths), _FILES_PER_TRANSACTION):
                store.ingest(paths[start : start + _FILES_PER_TRANSACTION])
            return store.done()


def examples_frame(blocks: Iterable[Block]) -> pl.DataFrame:
    """The examples as the database keeps them: split, example_id, position, block, question, answer."""
    rows = []
    positions: dict[str, int] = {}
    for block in blocks:
        for example in block.examples:
            position = positions.get(block.split, 0)
            positions[block.split] = position + 1
            rows.append((block.split, example.id, position, block.index, example.question, example.answer))
    return pl.DataFrame(rows, schema=["split", "example_id", "position", "block", "question", "answer"], orient="row")


def check_complete(done: pl.DataFrame, candidate_ids: Iterable[str], split: str, blocks: int | Sequence[int]) -> None:
    """Refuse to rank or vote on scores with holes.

    Args:
        done: Finished units: candidate_id, split, block.
        candidate_ids: Who must have answered.
        split: What.
        blocks: Which blocks of it, or the first how many.

    Raises:
        RunError: Some candidate has not answered all of them.
    """
    asked = list(range(blocks) if isinstance(blocks, int) else blocks)
    n_blocks = len(asked)
    of_split = done.filter((pl.col("split") == split) & pl.col("block").is_in(asked))
    counts = dict(of_split.group_by("candidate_id").len().iter_rows())
    missing = [candidate for candidate in candidate_ids if counts.get(candidate, 0) < n_blocks]
    if missing:
        raise RunError(
            f"{len(missing)} candidates have no complete score on the {split} split, the first is {missing[0]}; "
            "run the same config again to score them"
        )


@task("aggregate-scores", retries=2, retry_delays_s=[2])
def aggregate_scores(book: ScoreBook) -> pl.DataFrame:
    """Prefect task over `ScoreBook.aggregate`; worth a retry because a reader may hold the database for seconds."""
    return book.aggregate()
