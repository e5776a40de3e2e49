"""Named queries over a run's scores, the same for the writer (`ScoreStore`) and for readers (`ScoreReader`)."""

from __future__ import annotations

import polars as pl

from thickets.storage.scores.answer_queries import AnswerQueries
from thickets.storage.scores.sum_queries import SumQueries


class ScoreQueries(SumQueries, AnswerQueries):
    """All named queries over one run's scores; here those for how far the run is and what it took."""

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
