"""Distillations of earlier rounds, whose rows and whose first model a later one takes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from thickets.flows.config.file import load_config
from thickets.flows.results.distillation import DistillFolder, distill_folder
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.storage.models.base import BaseModelRef
from thickets.tasks.distillation.data import STUDENT
from thickets.tasks.preparation import prepare_base_model
from thickets.tasks.problems import Problem
from thickets.tasks.problems.splits import Splits, draw_training
from thickets.tasks.types import Example


@dataclass(frozen=True, slots=True)
class EarlierRows:
    """What the student of an earlier distillation was trained on, less what that one had from earlier ones itself.

    Attributes:
        examples: Its training examples, drawn again.
        rows: As in `thickets.tasks.distillation.data.ROW_SCHEMA`, of the student alone.
    """

    examples: tuple[Example, ...]
    rows: pl.DataFrame


def read_earlier(home: Home, name: str, problem: Problem, splits: Splits) -> EarlierRows:
    """Read the rows of an earlier distillation.

    Args:
        home: Of its run.
        name: Run and distillation, ``RUN/ID``.
        problem: That of both.
        splits: Those of both.

    Raises:
        InputError: It is not there.
    """
    folder = _folder(home, name)
    section = load_config(str(folder.config)).distillation
    assert section is not None  # the folder's config is written with it
    rows = pl.read_parquet(folder.data, hive_partitioning=False).filter(pl.col("arm") == STUDENT)
    return EarlierRows(draw_training(problem, splits, section.examples, section.seed).examples, rows)


def start_of(home: Home, names: Sequence[str]) -> BaseModelRef | None:
    """Return the model that the first of these distillations has trained from; None of none.

    Raises:
        InputError: It is not there.
    """
    if not names:
        return None
    _folder(home, names[0])
    config = load_config(str(home.run(names[0].partition("/")[0]).config))  # which finds a model of a moved home
    return prepare_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)


def _folder(home: Home, name: str) -> DistillFolder:
    run, _, distillation = name.partition("/")
    folder = distill_folder(home.run(run), distillation)
    if not (folder.config.is_file() and folder.data.is_file()):
        raise InputError(f"distillation.earlier: {home.root} has no distillation {name}; start the rounds again")
    return folder
