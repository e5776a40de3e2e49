"""Named queries over a run's scores, the same for the writer (`ScoreStore`) and for readers (`ScoreReader`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

import polars as pl

from thickets.storage.scores.sql import Params

# The rows `s` about questions that every candidate answered; the number is beyond every block.
_COMMON = "s.block < coalesce((SELECT n_blocks FROM race WHERE run_id = $run_id AND split = $split), 4294967296)"
# Sums of the rows `s`. A score is a whole number of thousandths, so they are exact and the same in any order.
_SUMS = """
    count_if(s.correct)::INTEGER AS n_correct,
    count(*)::INTEGER AS n,
    coalesce(sum(s.score), 0)::BIGINT AS points,
    coalesce(sum(s.score::BIGINT * s.score), 0)::BIGINT AS squares
"""


class Sums(NamedTuple):
    """Sums over some answers.

    Attributes:
        n_correct: Right answers.
        n: Answers.
        points: Sum of their scores, in thousandths.
        squares: Sum of the squared scores. `1000 * points` where every answer scores 0 or 1000, and smaller elsewhere.
    """

    n_correct: int
    n: int
    points: int
    squares: int


class ScoreQueries(ABC):
    """Named queries over one run's scores; the order of every frame depends on its content alone.

    In every frame n_correct counts right answers, points is the sum of the scores in thousandths, and squares that of
    their squares.

    Attributes:
        run_id: The run whose scores are read.
    """

    run_id: str

    @abstractmethod
    def query(self, sql: str, params: Params = ()) -> pl.DataFrame:
        """Run one query against the tables and views of ``schema.sql``, and ``completions``.

        Raises:
            InputError: The SQL is wrong, is not exactly one statement, or would write; the message is one line.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the database."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def leaderboard(self, split: str = "selection", limit: int | None = None) -> pl.DataFrame:
        """Rank the candidates (base, controls and those that racing has dropped are left out) by one split.

        Returns:
            rank, candidate_id, seed, sigma, n_correct, n, accuracy, points, mean_score, position; by points DESC, seed,
            sigma.
        """
        return self.query(
            """
            SELECT row_number() OVER (ORDER BY points DESC, seed, sigma)::INTEGER AS rank,
                   candidate_id, seed, sigma, n_correct, n, accuracy, points, mean_score, position
            FROM accuracy
            WHERE run_id = $run_id AND split = $split AND position >= 0
              AND candidate_id NOT IN (SELECT candidate_id FROM dropped WHERE run_id = $run_id)
            ORDER BY rank
            LIMIT $limit
            """,
            {"run_id": self.run_id, "split": split, "limit": 2**62 if limit is None else limit},
        )

    def common_scores(self, split: str = "selection") -> pl.DataFrame:
        """Score every candidate on the questions that all candidates answered: all of them, unless racing dropped some.

        Returns:
            candidate_id, seed, sigma, n_correct, n, accuracy, points, mean_score, squares (base and controls are left
            out); in the order of `leaderboard`, which without racing has the same rows.
        """
        return self.query(
            """
            SELECT candidate_id, seed, sigma, n_correct, n, accuracy, points, mean_score, squares
            FROM common_accuracy
            WHERE run_id = $run_id AND split = $split AND position >= 0
            ORDER BY points DESC, seed, sigma
            """,
            {"run_id": self.run_id, "split": split},
        )

    def common_base(self, split: str = "selection") -> Sums:
        """Sum the base's answers to the questions of `common_scores`."""
        found = self.query(
            f"""
            SELECT {_SUMS}
            FROM scores AS s
            WHERE run_id = $run_id AND split = $split AND candidate_id = 'base' AND {_COMMON}
            """,
            {"run_id": self.run_id, "split": split},
        )
        return Sums(*found.row(0))

    def answer_counts(self, split: str = "selection") -> pl.DataFrame:
        """Count what became of the answers to the questions of `common_scores`: of the base, and of all candidates.

        Returns:
            n, n_cut_off (at the limit of tokens), n_abstained (no answer found); two rows, the base's first.
        """
        return self.query(
            f"""
            SELECT count(*)::BIGINT AS n,
                   count_if(s.finish_reason = 'length')::BIGINT AS n_cut_off,
                   count_if(s.answer IS NULL)::BIGINT AS n_abstained
            FROM scores AS s
            JOIN candidates AS c USING (run_id, candidate_id)
            WHERE run_id = $run_id AND split = $split AND c.position >= -1 AND {_COMMON}
            GROUP BY c.position >= 0
            ORDER BY c.position >= 0
            """,
            {"run_id": self.run_id, "split": split},
        )

    def sums_in_blocks(self, split: str, n_blocks: int) -> pl.DataFrame:
        """Sum the candidates' scores in the first blocks of a split (base and controls are left out).

        Returns:
            candidate_id, n_correct, n, points, squares; in the order of the population.
        """
        return self.query(
            f"""
            SELECT candidate_id, {_SUMS}
            FROM scores AS s
            JOIN candidates AS c USING (run_id, candidate_id)
            WHERE run_id = $run_id AND split = $split AND block < $n_blocks AND c.position >= 0
            GROUP BY candidate_id, c.position
            ORDER BY c.position, candidate_id
            """,
            {"run_id": self.run_id, "split": split, "n_blocks": n_blocks},
        )

    def rounds(self) -> pl.DataFrame:
        """Return how many candidates raced in each block of the selection split.

        Returns:
            block, n_questions, n_candidates (scored on that block; the base is left out); by block.
        """
        return self.query(
            """
            SELECT e.block, count(*)::INTEGER AS n_questions,
                   (SELECT count(*) FROM candidates AS c WHERE c.run_id = $run_id AND c.position >= 0)::INTEGER
                   - (SELECT count(*) FROM dropped AS d WHERE d.run_id = $run_id AND d.n_blocks <= e.block)::INTEGER
                   AS n_candidates
            FROM examples AS e
            WHERE e.run_id = $run_id AND e.split = 'selection'
            GROUP BY e.block
            ORDER BY e.block
            """,
            {"run_id": self.run_id},
        )

    def answers(self, split: str, candidate_ids: Sequence[str]) -> pl.DataFrame:
        """Return the answers of some candidates, in the order of ``candidate_ids``, then of the examples.

        Returns:
            candidate_id, example_id, answer (null: abstained), correct, score (thousandths), n_tokens.
        """
        return self.query(
            """
            SELECT s.candidate_id, s.example_id, s.answer, s.correct, s.score, s.n_tokens
            FROM scores AS s
            JOIN examples AS e USING (run_id, split, example_id)
            JOIN (SELECT unnest($ids) AS candidate_id, generate_subscripts($ids, 1) AS place) USING (candidate_id)
            WHERE run_id = $run_id AND split = $split
            ORDER BY place, e.position, example_id
            """,
            {"run_id": self.run_id, "split": split, "ids": list(candidate_ids)},
        )

    def completions(self, split: str, candidate_id: str) -> pl.DataFrame:
        """Return the completions of one candidate that the shards still hold, in the order of the examples.

        Returns:
            example_id, completion.
        """
        who = {"run_id": self.run_id, "split": split, "candidate_id": candidate_id}
        files = self.query(
            "SELECT DISTINCT shard_id FROM scores "
            "WHERE run_id = $run_id AND split = $split AND candidate_id = $candidate_id ORDER BY shard_id",
            who,
        )["shard_id"]
        # File by file: with a single name to compare with, DuckDB opens no other file.
        found = [
            self.query(
                """
                SELECT c.example_id, c.completion, e.position
                FROM completions AS c
                JOIN examples AS e USING (run_id, split, example_id)
                WHERE run_id = $run_id AND split = $split AND candidate_id = $candidate_id AND c.shard_id = $shard_id
                """,
                who | {"shard_id": shard_id},
            )
            for shard_id in files
        ]
        none = pl.DataFrame(schema={"example_id": pl.String, "completion": pl.String, "position": pl.Int32})
        return pl.concat([none, *found]).sort("position", "example_id").drop("position")

    def question_counts(self, split: str = "selection") -> pl.DataFrame:
        """Sum the candidates' scores per sigma and question (base and controls are left out).

        With racing, of the selection split only the questions that every candidate answered.

        Returns:
            sigma, example_id, n_correct, n, points, squares; by sigma, then in the order of the examples.
        """
        return self.query(
            f"""
            SELECT c.sigma, s.example_id, {_SUMS}
            FROM scores AS s
            JOIN candidates AS c USING (run_id, candidate_id)
            JOIN examples AS e USING (run_id, split, example_id)
            WHERE run_id = $run_id AND split = $split AND c.position >= 0 AND {_COMMON}
            GROUP BY c.sigma, s.example_id, e.position
            ORDER BY c.sigma, e.position, s.example_id
            """,
            {"run_id": self.run_id, "split": split},
        )

    def candidate_outcomes(self, split: str = "selection") -> pl.DataFrame:
        """Return what each candidate made of every question, of those that answered the whole split (no base).

        With racing, "the whole split" is the questions of the selection split that every candidate answered.

        Returns:
            candidate_id, sigma, correct and score (lists in the order of the examples); by seed, then sigma.
        """
        return self.query(
            f"""
            SELECT c.candidate_id, c.sigma, list(s.correct ORDER BY e.position, s.example_id) AS correct,
                   list(s.score ORDER BY e.position, s.example_id) AS score
            FROM scores AS s
            JOIN candidates AS c USING (run_id, candidate_id)
            JOIN examples AS e USING (run_id, split, example_id)
            WHERE run_id = $run_id AND split = $split AND c.position >= 0 AND {_COMMON}
            GROUP BY c.candidate_id, c.seed, c.sigma
            HAVING count(*) = (
                SELECT count(*) FROM examples AS s WHERE run_id = $run_id AND split = $split AND {_COMMON}
            )
            ORDER BY c.seed, c.sigma
            """,
            {"run_id": self.run_id, "split": split},
        )

    def base_outcomes(self, split: str = "selection") -> list[int]:
        """Return the base's score, in thousandths, on each question of `candidate_outcomes`, in the same order."""
        return (
            self.query(
                f"""
                SELECT s.score
                FROM scores AS s
                JOIN examples AS e USING (run_id, split, example_id)
                WHERE run_id = $run_id AND split = $split AND candidate_id = 'base' AND {_COMMON}
                ORDER BY e.position, s.example_id
                """,
                {"run_id": self.run_id, "split": split},
            )["score"]
            .cast(pl.Int64)
            .to_list()
        )

    def first_outcomes(self, split: str, n_candidates: int) -> pl.DataFrame:
        """Return what each of the population's first candidates made of every question of a split.

        All their answers count, also those of candidates that racing has dropped.

        Returns:
            candidate_id, sigma, correct and score (lists in the order of the examples); in the order of the population.
        """
        return self.query(
            """
            SELECT c.candidate_id, c.sigma, list(s.correct ORDER BY e.position, s.example_id) AS correct,
                   list(s.score ORDER BY e.position, s.example_id) AS score
            FROM scores AS s
            JOIN candidates AS c USING (run_id, candidate_id)
            JOIN examples AS e USING (run_id, split, example_id)
            WHERE run_id = $run_id AND split = $split AND c.position >= 0 AND c.position < $n_candidates
            GROUP BY c.candidate_id, c.sigma, c.position
            ORDER BY c.position, c.candidate_id
            """,
            {"run_id": self.run_id, "split": split, "n_candidates": n_candidates},
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

    def spent(self, split: str) -> tuple[int, int]:
        """Count all answers to a split and their tokens: of candidates, dropped ones included, base and controls."""
        counted = self.query(
            "SELECT count(*)::BIGINT, coalesce(sum(n_tokens), 0)::BIGINT FROM scores WHERE run_id = ? AND split = ?",
            [self.run_id, split],
        )
        n_answers, n_tokens = counted.row(0)
        return n_answers, n_tokens

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
