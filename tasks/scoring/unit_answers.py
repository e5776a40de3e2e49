"""What the engine's thread hands over for one unit: answers, perhaps as tokens still, and the times they took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from thickets.tasks.engines.base import Engine, TokenEngine
from thickets.tasks.engines.token_answers import TokenAnswers
from thickets.tasks.scoring.units import Block, UnitReport, candidate_id, completion_rows
from thickets.tasks.types import Completion, Prompt, Respondent, Sampling


@dataclass(frozen=True, slots=True)
class UnitAnswers:
    """The answers of one respondent to one block.

    Attributes:
        answers: One per prompt; tokens where the engine has a way to leave the text to others.
        start_s: Seconds to build the engine, if this unit was the first to need it.
        load_s: Seconds to load the weights.
        generate_s: Seconds to answer.
    """

    answers: TokenAnswers | Sequence[Completion]
    start_s: float
    load_s: float
    generate_s: float

    def rows(self, who: Respondent, block: Block) -> pl.DataFrame:
        """Make the text and return the completions as a shard keeps them; not on the engine's thread."""
        made = self.answers.completions() if isinstance(self.answers, TokenAnswers) else self.answers
        return completion_rows(candidate_id(who), block, made)

    def report(self, who: Respondent, block: Block, verdicts: pl.DataFrame) -> UnitReport:
        """Count the verdicts on them."""
        return UnitReport(
            candidate_id=candidate_id(who),
            split=block.split,
            n_correct=int(verdicts["correct"].sum()),
            n=verdicts.height,
            n_tokens=int(verdicts["n_tokens"].sum()),
            load_s=self.load_s,
            generate_s=self.generate_s,
            start_s=self.start_s,
        )


def answer(engine: Engine, prompts: Sequence[Prompt], sampling: Sampling) -> TokenAnswers | Sequence[Completion]:
    """Have the weights that an engine holds answer, without making text if it can leave that to `UnitAnswers.rows`."""
    if sampling.labels is None and isinstance(engine, TokenEngine):
        return engine.generate_tokens(prompts, sampling)
    return engine.generate(prompts, sampling)
