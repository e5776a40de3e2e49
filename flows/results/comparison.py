"""The comparison of several runs as one value: `thickets compare` prints it, a search of several problems keeps it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.cost import RowCost
from thickets.tasks.results.discordance import SigmaDiscordance
from thickets.tasks.results.intervals import Accuracy, Difference


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class ComparedRow(_Value):
    """One row of one run's result on its test split.

    Attributes:
        name: Its name in every run: ``base``, a control's name, ``best_single`` or ``ensemble``.
        label: Its label in this run's table of results.
        accuracy: On this run's test split.
        over_base: Accuracy minus that of the base; None for the base itself.
        n_tokens: Tokens generated for it on the test split.
        cost: What it took to get and takes to use; None in runs of versions that did not count it.
        times_base: Its tokens for a question, in multiples of its base's; None where that is not known.
    """

    name: str
    label: str
    accuracy: Accuracy
    over_base: Difference | None
    n_tokens: int
    cost: RowCost | None = None
    times_base: float | None = None


class ComparedRun(_Value):
    """One run of a comparison.

    Attributes:
        sigmas: The sigmas of its candidates.
        k: Experts that vote.
        rows: From chance to the ensemble.
        gain: Ensemble minus base on the test split.
        n_tokens: Tokens of the whole run.
        rivals: What other methods made on the run's questions, against its ensemble and its base, in sentences.
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
    rivals: tuple[str, ...] = ()


class Pair(_Value):
    """The ensembles of two runs.

    Attributes:
        ours: Id of the first run.
        theirs: Id of the second run.
        difference: Accuracy of `ours` minus that of `theirs`, paired by question; None unless both runs
            answered the same questions.
        sentence: The verdict, or the reason for having none.
        reason: Why there is no difference; None where there is one, and in comparisons that earlier versions stored.
    """

    ours: str
    theirs: str
    difference: Difference | None
    sentence: str
    reason: str | None = None


class DiscordanceTable(_Value):
    """The discordance of the runs' problems: how differently they rank the candidates that the runs share.

    Attributes:
        sigmas: Discordance on the selection splits, per sigma and never pooled.
        reason: Why there is no discordance, or None.
    """

    sigmas: tuple[SigmaDiscordance, ...] = ()
    reason: str | None = None


class ConfigDifference(_Value):
    """A field that is not the same in all configurations.

    Attributes:
        field: Dotted name with its section: ``population.size``.
        values: Its value in each run; None where the field is empty or absent.
    """

    field: str
    values: tuple[Any, ...]


class Comparison(_Value):
    """The comparison of two or more runs.

    Attributes:
        runs: The runs, in the order in which they were named.
        pairs: Every two of the runs, the earlier one as `ours`.
        discordance: Discordance of the runs' problems.
        config: The fields that differ in the runs' configurations.
    """

    runs: tuple[ComparedRun, ...]
    pairs: tuple[Pair, ...]
    discordance: DiscordanceTable
    config: tuple[ConfigDifference, ...]


class Group(_Value):
    """A stored comparison of the runs of one configuration with several problems.

    Attributes:
        group_id: The configuration's name and a hash of the run ids; the group's folder.
        run_ids: One per problem, in the configuration's order.
        comparison: The comparison of these runs.
    """

    group_id: str
    run_ids: tuple[str, ...]
    comparison: Comparison
