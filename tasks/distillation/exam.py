"""The validation split as an exam for a model in training: greedy answers by our own decoding, judged as in a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from thickets.storage.scores.database import BASE_ID
from thickets.tasks.distillation.training import Exam
from thickets.tasks.problems.judging import Judge
from thickets.tasks.scoring.units import Block, judged, sampling_of
from thickets.tasks.types import Sampling


def validation_exam(
    blocks: Sequence[Block],
    judge: Judge,
    sampling: Sampling,
    base: Path,
    batch_size: int,
    *,
    trust_remote_code: bool,
) -> Exam:
    """Make the exam.

    Args:
        blocks: Of the validation split, with their prompts.
        judge: Judges the answers.
        sampling: How a run decodes: greedily.
        base: Folder of the base checkpoint, for its tokenizer.
        batch_size: Most prompts decoded together.
        trust_remote_code: Run Python code found in the folder.
    """
    from thickets.tasks.engines.tokenizer import load_tokenizer
    from thickets.tasks.engines.transformers import TransformersEngine

    tokenizer = load_tokenizer(base, trust_remote_code=trust_remote_code)

    def take(model: Any) -> tuple[int, int]:
        engine = TransformersEngine.over(model, tokenizer, batch_size)
        answered = [(block, engine.generate(block.prompts, sampling_of(None, block, sampling))) for block in blocks]
        verdicts = pl.concat([judged(BASE_ID, block, texts, judge) for block, texts in answered])
        return int(verdicts["correct"].sum()), int(verdicts["score"].cast(pl.Int64).sum())

    return Exam(take, sum(len(block.examples) for block in blocks))
