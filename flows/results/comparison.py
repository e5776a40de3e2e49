"""Several runs side by side, as one value: what `thickets compare` prints and a search of several problems keeps."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.discordance import SigmaDiscordance
from thickets.tasks.results.evaluation import Accuracy, Difference


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class ComparedRow(_Value):
    """One row of one run's result on its test split.

    Attributes:
        name: What it is in every run: ``base``, a control's name, ``best_single`` or ``ensemble``.
        label: What it is in this run.
        accuracy: On this run's test split.
        over_base: Accuracy minus that of the base; None for the base itself.
        n_tokens: Tokens generated for it on the test split.
    """

    name: str
    label: str
    accuracy: Accuracy
    over_base: Difference | None
    n_tokens: int


class ComparedRun(_Value):
    """One run of a comparison.

    Attributes:
        sigmas: Those of its candidates.
        k: Experts that vote.
        rows: From chance to the ensemble.
        gain: Ensemble minus base on the test split.
        n_tokens: Tokens of the whole run.
    """

    run_id: str
    model: str
    model_sha256: str
    problem: str
    n_candidates: int
    sigmas: tuple[float, ...]
    k: int
    rule: str
    rows: tuple[ComparedRow, ...]
    gain: Difference
    n_tokens: int


class Pair(_Value):
    """The ensembles of two runs.

    Attributes:
        ours: Run id.
        theirs: Run id.
        difference: Ours minus theirs, question by question; None unless both answered the same questions.
        sentence: The verdict, or why there is none.
    """

    ours: str
    theirs: str
    difference: Difference | None
    sentence: str


class DiscordanceTable(_Value):
    """How differently the runs' problems rank the candidates that the runs share, on the selection splits.

    Attributes:
        sigmas: By sigma, never pooled.
        reason: Why there is none, or None.
    """

    sigmas: tuple[SigmaDiscordance, ...] = ()
    reason: str | None = None


class ConfigDifference(_Value):
    """A field of the configurations that is not the same in all.

    Attributes:
        field: With its section, ``population.size``.
        values: By run; None where the field is empty or absent.
    """

    field: str
    values: tuple[Any, ...]


class Comparison(_Value):
    """Two or more runs side by side.

    Attributes:
        runs: In the order they were named.
        pairs: Every two of them, the earlier one as `ours`.
        discordance: Of their problems.
        config: What differs in their configurations.
    """

    runs: tuple[ComparedRun, ...]
    pairs: tuple[Pair, ...]
    discordance: DiscordanceTable
    config: tuple[ConfigDifference, ...]


class Group(_Value):
    """A comparison that is kept: the runs of one configuration with several problems.

    Attributes:
        group_id: The configuration's name and a hash of the run ids; the group's folder.
        run_ids: By problem, in the configuration's order.
        comparison: Of these runs.
    """

    group_id: str
    run_ids: tuple[str, ...]
    comparison: Comparison
