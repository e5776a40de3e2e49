"""The validation split as an exam for a model in training: greedy answers by our own decoding, judged as in a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from thickets.storage.scores.database import BASE_ID
from thickets.tasks.distillation.training import Exam
from thickets.tasks.problems.judging import Judge
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.scoring.units import Block, completion_rows, sampling_of, verdict_rows
from thickets.tasks.statistics import accuracy_of
from thickets.tasks.types import Sampling, text_of


@dataclass(frozen=True, slots=True)
class ExamMark:
    """What a model was found to be worth.

    Attributes:
        accuracy: Of its answers.
        read: Tokens of each prompt.
        new: Tokens of each answer.
    """

    accuracy: Accuracy
    read: tuple[int, ...]
    new: tuple[int, ...]


def validation_exam(
    blocks: Sequence[Block],
    judge: Judge,
    sampling: Sampling,
    base: Path,
    batch_size: int,
    *,
    trust_remote_code: bool,
) -> Exam:
    """Make the exam; see `marking`."""
    mark = marking(blocks, judge, sampling, base, batch_size, trust_remote_code=trust_remote_code)

    def take(model: Any) -> tuple[int, int]:
        found = mark(model).accuracy
        return found.n_correct, found.total

    return Exam(take, sum(len(block.examples) for block in blocks))


def marking(
    blocks: Sequence[Block],
    judge: Judge,
    sampling: Sampling,
    base: Path,
    batch_size: int,
    *,
    trust_remote_code: bool,
) -> Callable[[Any], ExamMark]:
    """Return what marks a live model, with all that it took.

    Args:
        blocks: Of the validation split, with their prompts.
        judge: Judges the answers.
        sampling: How a run decodes: greedily.
        base: Folder of the base checkpoint, for its tokenizer.
        batch_size: Most prompts decoded together.
        trust_remote_code: Run Python code found in the folder.
    """
    from thickets.tasks.engines.tokenizer import load_tokenizer, prompt_ids
    from thickets.tasks.engines.transformers import TransformersEngine

    tokenizer = load_tokenizer(base, trust_remote_code=trust_remote_code)
    read = [len(ids) for block in blocks for ids in prompt_ids(tokenizer, [text_of(each) for each in block.prompts])]

    def mark(model: Any) -> ExamMark:
        engine = TransformersEngine.over(model, tokenizer, batch_size)
        answered = [(block, engine.generate(block.prompts, sampling_of(None, block, sampling))) for block in blocks]
        rows = [(block, completion_rows(BASE_ID, block, texts)) for block, texts in answered]
        verdicts = pl.concat([verdict_rows(each, block.examples, judge) for block, each in rows])
        return ExamMark(
            accuracy_of(verdicts),
            tuple(read),
            tuple(completion.n_tokens for _, texts in answered for completion in texts),
        )

    return mark
