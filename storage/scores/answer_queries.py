"""Named queries for single answers: what candidates answered to questions, and what it was worth."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from thickets.storage.scores.queryable import COMMON, Queryable


class AnswerQueries(Queryable):
    """One run's answers; the order of every frame depends on its content alone."""

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
            WHERE run_id = $run_id AND split = $split AND c.position >= 0 AND {COMMON}
            GROUP BY c.candidate_id, c.seed, c.sigma
            HAVING count(*) = (
                SELECT count(*) FROM examples AS s WHERE run_id = $run_id AND split = $split AND {COMMON}
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
                WHERE run_id = $run_id AND split = $split AND candidate_id = 'base' AND {COMMON}
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
