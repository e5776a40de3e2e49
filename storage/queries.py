"""The questions that the stages ask of the scores, by name; answered alike by the writer and by readers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import polars as pl

from storage.sql import Params


class ScoreQueries(ABC):
    """Named queries over one run's scores; every frame comes in an order that is a function of its content.

    Attributes:
        run_id: The run that is asked about.
    """

    run_id: str

    @abstractmethod
    def query(self, sql: str, params: Params = ()) -> pl.DataFrame:
        """Run one query against the tables and views of ``schema.sql``, and ``completions``.

        Raises:
            InputError: If the SQL is wrong, is not exactly one statement, or would write; one line.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def leaderboard(self, split: str = "selection", limit: int | None = None) -> pl.DataFrame:
        """Rank the candidates (base and controls are left out) by one split.

        Returns:
            rank, candidate_id, seed, sigma, n_correct, n, accuracy, position; by n_correct DESC, seed, sigma.
        """
        return self.query(
            """
            SELECT row_number() OVER (ORDER BY n_correct DESC, seed, sigma)::INTEGER AS rank,
                   candidate_id, seed, sigma, n_correct, n, accuracy, position
            FROM accuracy
            WHERE run_id = $run_id AND split = $split AND position >= 0
            ORDER BY rank
            LIMIT $limit
            """,
            {"run_id": self.run_id, "split": split, "limit": 2**62 if limit is None else limit},
        )

    def answers(self, split: str, candidate_ids: Sequence[str]) -> pl.DataFrame:
        """Return what some candidates answered, in the order of ``candidate_ids``, then of the examples.

        Returns:
            candidate_id, example_id, answer (null: abstained), correct, n_tokens.
        """
        return self.query(
            """
            SELECT s.candidate_id, s.example_id, s.answer, s.correct, s.n_tokens
            FROM scores AS s
            JOIN examples AS e USING (run_id, split, example_id)
            JOIN (SELECT unnest($ids) AS candidate_id, generate_subscripts($ids, 1) AS place) USING (candidate_id)
            WHERE run_id = $run_id AND split = $split
            ORDER BY place, e.position, example_id
            """,
            {"run_id": self.run_id, "split": split, "ids": list(candidate_ids)},
        )

    def completions(self, split: str, candidate_id: str) -> pl.DataFrame:
        """Return what one candidate wrote, in the order of the examples; only what the shards still hold.

        Returns:
            example_id, completion.
        """
        return self.query(
            """
            SELECT c.example_id, c.completion
            FROM completions AS c
            JOIN examples AS e USING (run_id, split, example_id)
            WHERE run_id = $run_id AND split = $split AND candidate_id = $candidate_id
            ORDER BY e.position, c.example_id
            """,
            {"run_id": self.run_id, "split": split, "candidate_id": candidate_id},
        )

    def question_counts(self, split: str = "selection") -> pl.DataFrame:
        """Count, per sigma and question, the candidates that have it right (base and controls are left out).

        Returns:
            sigma, example_id, n_correct, n; by sigma, then in the order of the examples.
        """
        return self.query(
            """
            SELECT c.sigma, s.example_id, count_if(s.correct)::INTEGER AS n_correct, count(*)::INTEGER AS n
            FROM scores AS s
            JOIN candidates AS c USING (run_id, candidate_id)
            JOIN examples AS e USING (run_id, split, example_id)
            WHERE run_id = $run_id AND split = $split AND c.position >= 0
            GROUP BY c.sigma, s.example_id, e.position
            ORDER BY c.sigma, e.position, s.example_id
            """,
            {"run_id": self.run_id, "split": split},
        )

    def candidate_outcomes(self, split: str = "selection") -> pl.DataFrame:
        """Return which questions each candidate has right, of those that answered the whole split (no base).

        Returns:
            candidate_id, sigma, correct (a list in the order of the examples); by seed, then sigma.
        """
        return self.query(
            """
            SELECT c.candidate_id, c.sigma, list(s.correct ORDER BY e.position, s.example_id) AS correct
            FROM scores AS s
            JOIN candidates AS c USING (run_id, candidate_id)
            JOIN examples AS e USING (run_id, split, example_id)
            WHERE run_id = $run_id AND split = $split AND c.position >= 0
            GROUP BY c.candidate_id, c.seed, c.sigma
            HAVING count(*) = (SELECT count(*) FROM examples WHERE run_id = $run_id AND split = $split)
            ORDER BY c.seed, c.sigma
            """,
            {"run_id": self.run_id, "split": split},
        )

    def questions(self, split: str) -> pl.DataFrame:
        """Return a split's questions in their order: example_id, question, answer (gold)."""
        return self.query(
            """
            SELECT example_id, question, answer
            FROM examples
            WHERE run_id = $run_id AND split = $split
            ORDER BY position, example_id
            """,
            {"run_id": self.run_id, "split": split},
        )

    def sigma_statistics(self, split: str = "selection") -> pl.DataFrame:
        """Describe the candidates of each sigma on one split (view ``sigma_statistics``), by sigma."""
        return self.query(
            "SELECT * EXCLUDE (run_id) FROM sigma_statistics WHERE run_id = ? AND split = ? ORDER BY sigma",
            [self.run_id, split],
        )

    def totals(self, split: str) -> pl.DataFrame:
        """Count candidates, answers and tokens of one split (view ``totals``); one row, or none before any score."""
        return self.query("SELECT * EXCLUDE (run_id) FROM totals WHERE run_id = ? AND split = ?", [self.run_id, split])

    def done(self) -> pl.DataFrame:
        """Return the units that are fully present: a candidate has an answer to every example of the block.

        Returns:
            candidate_id, split, block; in the order of the population, the split's name and the block.
        """
        return self.query(
            """
            WITH size AS (
                SELECT split, block, count(*) AS n_examples FROM examples WHERE run_id = $run_id GROUP BY ALL
            ),

            unit AS (
                SELECT candidate_id, split, block, count(*) AS n FROM scores WHERE run_id = $run_id GROUP BY ALL
            )

            SELECT candidate_id, split, block
            FROM unit
            JOIN size USING (split, block)
            JOIN candidates USING (candidate_id)
            WHERE n = n_examples AND run_id = $run_id
            ORDER BY position, candidate_id, split, block
            """,
            {"run_id": self.run_id},
        )
