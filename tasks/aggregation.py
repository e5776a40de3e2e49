"""Aggregation: judges shards that have no verdicts, and takes the verdicts into the run's score database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from thickets.storage.errors import RunError
from thickets.storage.scores.database import BASE_ID, BASE_POSITION, CONTROL_POSITION, PATIENCE_S, ScoreStore
from thickets.storage.shards.file import is_intact, list_broken, list_shards, quarantine, read_whole, verdicts_name
from thickets.storage.shards.folder import LocalShardFolder, ShardFolder
from thickets.tasks.engines.prompts import Template
from thickets.tasks.problems.judging import Judge
from thickets.tasks.scoring.units import Block, candidate_id, verdict_rows
from thickets.tasks.seeds import POPULATION_SCHEMA
from thickets.tasks.task import task
from thickets.tasks.types import ImagePrompt, Respondent, text_of

# Files per transaction: bounds the memory of taking in a large run that was scored before.
_FILES_PER_TRANSACTION = 256


class ScoreBook:
    """A run's score database, and the candidates and examples that belong to the run.

    The database is opened for each use and closed again, so that others can read it while the run goes on. Shards and
    verdicts that were written elsewhere are copied to `shards` first, so that the database reads local files only.
    """

    def __init__(
        self,
        database: Path,
        shards: Path,
        run_id: str,
        population: pl.DataFrame,
        blocks: Iterable[Block],
        judge: Judge,
        verdicts: str,
        folder: ShardFolder | None = None,
    ) -> None:
        """Read and write nothing yet.

        Args:
            database: The database's file.
            shards: Folder of the shards on this machine.
            run_id: The run.
            population: Rows as `thickets.tasks.seeds.population` returns them.
            blocks: The run's examples.
            judge: Judges shards that have no verdicts.
            verdicts: Fingerprint of the judgement, which names them.
            folder: Where shards are kept; None: `shards`.
        """
        self.database, self.shards, self.run_id = database, shards, run_id
        blocks = tuple(blocks)
        self._judge = judge
        self._verdicts = verdicts
        self._folder = folder or LocalShardFolder(shards)
        self._asked = {(each.split, each.index, example.id): example for each in blocks for example in each.examples}
        self._checked: set[str] = set()  # names of shards that were found undamaged; each is read once a session
        self._foreign: set[str] = set()  # names of shards of other questions
        base = pl.DataFrame([(BASE_ID, None, 0.0, BASE_POSITION)], schema=POPULATION_SCHEMA, orient="row")
        self._candidates = pl.concat([base, population])
        self.examples = examples_frame(blocks)
        self._is_registered = False

    def open(self, wait_s: float = PATIENCE_S) -> ScoreStore:
        """Open the database for writing; the caller closes it.

        Args:
            wait_s: How long to wait for another process to close it.

        Raises:
            TransientError: Another process still holds it.
        """
        return ScoreStore.open(self.database, self.run_id, self.shards, wait_s=wait_s)

    def register(self, controls: Iterable[Respondent]) -> None:
        """Add controls to the run; the next `aggregate` takes in their answers, also those of finished shards.

        The members of a control may be known only after validation, so this may be called at any time. The base,
        candidates and controls that the run already has are left out.
        """
        ids = dict.fromkeys(map(candidate_id, controls))
        rows = [(name, None, 0.0, CONTROL_POSITION) for name in ids]
        self.enrol(pl.DataFrame(rows, schema=POPULATION_SCHEMA, orient="row"))

    def enrol(self, candidates: pl.DataFrame) -> None:
        """Add candidates to the run; the next `aggregate` takes in their answers. Known ones are left out.

        Args:
            candidates: Rows as `thickets.tasks.seeds.population` returns them.
        """
        new = candidates.join(self._candidates, on="candidate_id", how="anti", maintain_order="left")
        self._candidates = pl.concat([self._candidates, new])
        self._is_registered = self._is_registered and new.is_empty()

    def aggregate(self, *, judge: bool = True, wait_s: float = PATIENCE_S) -> pl.DataFrame:
        """Judge every shard that has no verdicts, and take in all that is new to the database.

        The scores of a shard that was found damaged leave the database: its units are to be scored again.

        Args:
            judge: False while shards are being scored: whoever has just written one is judging it.
            wait_s: As for `open`.

        Returns:
            Finished units: candidate_id, split, block.
        """
        paths = self.judge_what_is_left() if judge else self._judged()
        with self.open(wait_s) as store:
            if not self._is_registered:
                store.register(self._candidates, self.examples)
                self._is_registered = True
            store.forget(list_broken(self.shards))
            while True:
                for start in range(0, len(paths), _FILES_PER_TRANSACTION):
                    store.ingest(paths[start : start + _FILES_PER_TRANSACTION])
                if not judge or all(path.exists() for path in paths):
                    return store.done()
                paths = self.judge_what_is_left()  # some were unreadable, and their completions are there

    def judge_what_is_left(self) -> list[Path]:
        """Judge every shard that has no verdicts yet; return the files of verdicts, each of which has its shard.

        A damaged shard is renamed to ``*.broken``, and its verdicts do not count.
        """
        judged = self._judged()
        held = {path.stem for path in judged}
        left = [path for path in list_shards(self.shards) if path.stem not in held | self._foreign]
        for path in left:
            self._judge_shard(path)
        return self._judged() if left else judged

    def _judged(self) -> list[Path]:
        """Copy what was written elsewhere; return the files of verdicts, each of which has its shard."""
        local = self.shards / verdicts_name(self._verdicts)
        self._folder.mirror(self.shards)
        self._folder.verdicts(self._verdicts).mirror(local)
        shards = {path.stem: path for path in list_shards(self.shards)}
        for name in shards.keys() - self._checked:
            if is_intact(shards[name]):
                self._checked.add(name)
            else:
                quarantine(shards.pop(name))
        return [path for path in list_shards(local) if path.stem in shards]

    def _judge_shard(self, shard: Path) -> None:
        answered = read_whole(shard)
        if answered is None:
            quarantine(shard)
            return
        keys = answered.select("split", "block", "example_id").rows()
        known = [key in self._asked for key in keys]
        if not any(known):
            self._foreign.add(shard.stem)
            return
        examples = [self._asked[key] for key in keys if key in self._asked]
        verdicts = verdict_rows(answered.filter(pl.Series(known)), examples, self._judge)
        self._folder.verdicts(self._verdicts).write(shard.stem, verdicts)


def examples_frame(blocks: Iterable[Block]) -> pl.DataFrame:
    """Return the examples as the database keeps them: split, example_id, position, block, question, answer."""
    rows = []
    positions: dict[str, int] = {}
    for block in blocks:
        for example in block.examples:
            position = positions.get(block.split, 0)
            positions[block.split] = position + 1
            rows.append((block.split, example.id, position, block.index, example.shown, example.answer))
    return pl.DataFrame(rows, schema=["split", "example_id", "position", "block", "question", "answer"], orient="row")


def prompts_frame(blocks: Iterable[Block], template: Template) -> pl.DataFrame:
    """Return the prompts that candidates and base are given, by split, in the order of the examples.

    Returns:
        split, example_id, position, prompt (its text; of one with an image, with the model's placeholder), n_tokens
        (the image's included), image (its name in the data; null where there is none).
    """
    texts = dict.fromkeys(("split", "example_id", "prompt"), pl.String)
    rows = [
        (block.split, example.id, text_of(prompt), n, prompt.image.name if isinstance(prompt, ImagePrompt) else None)
        for block in blocks
        for example, prompt, n in zip(block.examples, block.prompts, template.lengths(block.prompts), strict=True)
    ]
    frame = pl.DataFrame(rows, schema=texts | {"n_tokens": pl.UInt32, "image": pl.String}, orient="row")
    position = pl.int_range(pl.len(), dtype=pl.Int32).over("split")
    return frame.select("split", "example_id", position.alias("position"), "prompt", "n_tokens", "image")


def check_complete(done: pl.DataFrame, candidate_ids: Iterable[str], split: str, blocks: int | Sequence[int]) -> None:
    """Check that candidates have answered every required block, before they are ranked or vote.

    Args:
        done: Finished units: candidate_id, split, block.
        candidate_ids: The candidates.
        split: The split.
        blocks: Indices of the required blocks, or the number n for the blocks 0 to n - 1.

    Raises:
        RunError: A candidate has not answered all required blocks.
    """
    required = list(range(blocks) if isinstance(blocks, int) else blocks)
    of_split = done.filter((pl.col("split") == split) & pl.col("block").is_in(required))
    counts = dict(of_split.group_by("candidate_id").len().iter_rows())
    missing = [candidate for candidate in candidate_ids if counts.get(candidate, 0) < len(required)]
    if missing:
        raise RunError(
            f"{len(missing)} candidates have no complete score on the {split} split, the first is {missing[0]}; "
            "run the same config again to score them"
        )


@task("aggregate-scores", retries=2, retry_delays_s=[2])
def aggregate_scores(book: ScoreBook) -> pl.DataFrame:
    """Prefect task over `ScoreBook.aggregate`: the decisive one, which waits for whoever reads the database."""
    return book.aggregate()
