"""Counts what the answers of a run took, from its score database and its prompts; docs/cost.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from thickets.storage.scores.database import BASE_ID, BASE_POSITION
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.engines.prompts import Template
from thickets.tasks.results.cost import Cost, flops_of
from thickets.tasks.scoring.units import Block, prompts_of
from thickets.tasks.types import Attempt, Respondent, Reworded

# What racing did not ask of a candidate does not count, even if another run has asked it (view `totals`).
_UNITS = """
SELECT s.candidate_id, s.block, count(*)::BIGINT AS n, sum(s.n_tokens)::BIGINT AS n_tokens
FROM scores AS s
LEFT JOIN dropped AS d USING (run_id, candidate_id)
WHERE s.run_id = $run_id AND s.split = $split AND (d.n_blocks IS NULL OR s.split <> 'selection' OR s.block < d.n_blocks)
GROUP BY s.candidate_id, s.block
ORDER BY s.candidate_id, s.block
"""
_POPULATION = "SELECT candidate_id FROM candidates WHERE run_id = $run_id AND position >= $base"
_CANDIDATES = "candidates"


@dataclass(frozen=True, slots=True)
class Worked:
    """Time that engines took for some answers.

    Attributes:
        n_answers: Answers that were timed.
        seconds: Of loading the respondents and of generating, summed over engines.
    """

    n_answers: int = 0
    seconds: float = 0.0

    def __add__(self, other: Worked) -> Worked:
        return Worked(self.n_answers + other.n_answers, self.seconds + other.seconds)


Times = Mapping[str, Worked]
"""By `timed_as`."""


def timed_as(split: str, who: str) -> str:
    """Return under which name the time of a respondent's answers is kept: candidates have one name in common.

    Args:
        split: Name of the split.
        who: Id of the respondent.
    """
    return f"{split} {who if who.startswith(BASE_ID) else _CANDIDATES}"


class AnswerCounter:
    """Counts answers of one model: tokens, sequences, floating-point operations and seconds.

    Seconds are those that were measured, per answer, times the answers: a session that was killed, or another run whose
    answers are used, has told none. They are 0 where nothing was measured.
    """

    def __init__(
        self,
        scores: ScoreQueries,
        blocks: Iterable[Block],
        template: Template,
        n_parameters: int,
        times: Times | None = None,
        reworded: Iterable[Respondent] = (),
    ) -> None:
        """Count nothing yet.

        Args:
            scores: The run's scores.
            blocks: Its questions, with their prompts.
            template: Counts the tokens of prompts.
            n_parameters: Of the model, as far as a token passes through them.
            times: What engines took; None: nothing was measured.
            reworded: Every respondent that was asked in other words than the run's own; others do no harm.
        """
        self._scores, self._blocks, self._template = scores, tuple(blocks), template
        self._n_parameters, self._times = n_parameters, times or {}
        self._instructions = {who.id: who.instruction for who in reworded if isinstance(who, Attempt | Reworded)}
        self._chooses = any(block.labels is not None for block in self._blocks)
        self._units: dict[str, pl.DataFrame] = {}
        self._read: dict[tuple[str, str | None], dict[int, int]] = {}

    def of(self, split: str, ids: Iterable[str] | None = None) -> Cost:
        """Count the answers of some respondents to a split, each respondent once.

        Args:
            split: Name of the split.
            ids: Of the respondents; None: everyone who has answered it.
        """
        units = self._answered(split)
        if ids is not None:
            wanted = pl.DataFrame({"candidate_id": sorted({*ids})}, schema={"candidate_id": pl.String})
            units = units.join(wanted, on="candidate_id", how="semi")
        total = Cost()
        for (who,), rows in units.group_by(["candidate_id"], maintain_order=True):
            total += self._of_one(split, str(who), rows)
        return total

    def of_population(self, split: str) -> Cost:
        """Count the answers of the base and all candidates to a split; those of controls and merges are left out."""
        who = self._scores.query(_POPULATION, {"run_id": self._scores.run_id, "base": BASE_POSITION})
        return self.of(split, who["candidate_id"])

    def _of_one(self, split: str, who: str, rows: pl.DataFrame) -> Cost:
        read = self._tokens_of_prompts(split, self._instructions.get(who))
        n, n_read = int(rows["n"].sum()), sum(read[block] for block in rows["block"])
        # Of labels to choose from all were read, and none was generated.
        n_generated = 0 if self._chooses else int(rows["n_tokens"].sum())
        worked = self._times.get(timed_as(split, who), Worked())
        return Cost(
            n_generated=n_generated,
            n_read=n_read,
            n_forward=n,
            flops=flops_of(self._n_parameters, n_read_or_generated=n_read + n_generated),
            engine_s=worked.seconds * n / worked.n_answers if worked.n_answers else 0.0,
        )

    def read(self, split: str) -> int:
        """Count the tokens that one respondent reads who answers a whole split in the run's own words."""
        return sum(self._tokens_of_prompts(split, None).values())

    def _answered(self, split: str) -> pl.DataFrame:
        if split not in self._units:
            self._units[split] = self._scores.query(_UNITS, {"run_id": self._scores.run_id, "split": split})
        return self._units[split]

    def _tokens_of_prompts(self, split: str, instruction: str | None) -> dict[int, int]:
        """Return the tokens that one respondent reads in each block of a split."""
        key = (split, instruction)
        if key not in self._read:
            self._read[key] = {
                block.index: self._tokens_of(block, instruction) for block in self._blocks if block.split == split
            }
        return self._read[key]

    def _tokens_of(self, block: Block, instruction: str | None) -> int:
        prompts = prompts_of(None if instruction is None else Reworded(instruction), block)
        n_tokens = sum(self._template.lengths(prompts))
        if block.labels is not None:
            gap, every = block.labels.gap, [label for each in block.labels.of_prompts for label in each]
            n_tokens += sum(self._template.count([f"{gap}{label.text}" for label in every]))
        return n_tokens
