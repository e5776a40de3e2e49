"""Named queries for sums over answers: by candidate, by question, by sigma."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from thickets.storage.scores.queryable import COMMON, Queryable

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


class SumQueries(Queryable):
    """Sums over one run's answers; the order of every frame depends on its content alone.

    In every frame n_correct counts right answers, points is the sum of the scores in thousandths, and squares that of
    their squares.
    """

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
            WHERE run_id = $run_id AND split = $split AND candidate_id = 'base' AND {COMMON}
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
            WHERE run_id = $run_id AND split = $split AND c.position >= -1 AND {COMMON}
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
            WHERE run_id = $run_id AND split = $split AND c.position >= 0 AND {COMMON}
            GROUP BY c.sigma, s.example_id, e.position
            ORDER BY c.sigma, e.position, s.example_id
            """,
            {"run_id": self.run_id, "split": split},
        )

    def sigma_statistics(self, split: str = "selection") -> pl.DataFrame:
        """Describe the candidates of each sigma on one split (view ``sigma_statistics``), by sigma."""
        return self.query(
            "SELECT * EXCLUDE (run_id) FROM sigma_statistics WHERE run_id = ? AND split = ? ORDER BY sigma",
            [self.run_id, split],
        )
