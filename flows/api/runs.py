"""Opens the runs of a home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thickets.flows.api.homes import find, home_at
from thickets.flows.api.models import ask, evaluate, materialize, promote
from thickets.flows.api.searches import distill, rescore, rival
from thickets.storage.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from thickets.flows.config.run import RunConfig
    from thickets.flows.models.promotion import Promotion
    from thickets.flows.models.reevaluation import Reevaluation
    from thickets.flows.results.comparison import Comparison
    from thickets.flows.results.distillation import DistillSummary
    from thickets.flows.results.rivals import RivalSummary
    from thickets.flows.results.runs import RunRow
    from thickets.flows.results.summary import RunSummary
    from thickets.storage.home import Home, RunFolder
    from thickets.tasks.export.card import AverageFacts, ExpertFacts, MergeFacts
    from thickets.tasks.results.rival_method import RivalMethod
    from thickets.tasks.serving import Answer


def list_runs(home: Path | str | None = None) -> list[RunRow]:
    """List the runs of a home, the latest first.

    Args:
        home: Folder of the runs; None: ``$THICKETS_HOME``, else ``thickets-data``.

    Example:
        >>> from thickets import list_runs
        >>> [(run.problem, run.n_candidates, run.state) for run in list_runs()]
        [('largest_number', 6, 'completed')]
    """
    from thickets.flows.results import runs

    return runs.list_runs(home_at(home))


def open_run(name: str = "latest", home: Path | str | None = None) -> Run:
    """Open a run of a home, finished or not.

    Args:
        name: A run id, a unique prefix of one, or ``latest``: the run that began to score last.
        home: As for `list_runs`.

    Raises:
        InputError: No run or several fit.

    Example:
        >>> from thickets import open_run
        >>> run = open_run("latest")
        >>> run.sql("select count(*) as n from leaderboard")["n"].item()
        6
        >>> run.experts.columns
        ['rank', 'seed', 'sigma', 'n_correct', 'n', 'weight']
        >>> run.report().name
        'report.html'
    """
    return Run(*find(name, home))


@dataclass(frozen=True)
class Run:
    """One run of a home; made by `open_run`.

    Attributes:
        home: The home.
        folder: The run's files.

    Example:
        >>> from thickets import open_run
        >>> run = open_run()
        >>> run.config.problem.name, run.summary.n_candidates
        ('largest_number', 6)
    """

    home: Home
    folder: RunFolder

    @property
    def run_id(self) -> str:
        """Name of the run and of its folder."""
        return self.folder.run_id

    @property
    def config(self) -> RunConfig:
        """The configuration it was started with.

        Raises:
            InputError: It does not fit this version.
        """
        from thickets.flows.config.file import load_config

        return load_config(str(self.folder.config))

    @cached_property
    def summary(self) -> RunSummary:
        """The result.

        Raises:
            InputError: The run is not finished.
        """
        from thickets.flows.results.runs import load_summary

        return load_summary(self.folder)

    @property
    def experts(self) -> pl.DataFrame:
        """The candidates that vote, by rank: rank, seed, sigma, n_correct, n (both of the selection split), weight.

        Where scores lie between wrong and right, also points: the sum of the scores on that split, in thousandths.

        Raises:
            InputError: The run is not finished.
        """
        import polars as pl

        rows = [expert.model_dump(exclude_none=True) | {"seed": int(expert.seed)} for expert in self.summary.experts]
        return pl.DataFrame(rows, schema_overrides={"seed": pl.UInt64})

    def sql(self, statement: str = "", *, named: str = "") -> pl.DataFrame:
        """Run one read-only SELECT on the run, also while it goes on; ``show tables`` lists what there is.

        Args:
            statement: The SELECT.
            named: The name of a ready query instead (`thickets sql RUN --list`).

        Raises:
            InputError: The statement cannot be run, there is no query of that name, or not exactly one is given.
        """
        from thickets.flows.results.ready_queries import ready_query
        from thickets.flows.results.runs import open_scores

        if bool(statement) == bool(named):
            raise InputError("sql: give a statement or the name of a ready query, and one of them alone")
        asked = ready_query(named, self.folder).sql if named else statement
        with open_scores(self.home, self.folder) as reader:
            return reader.query(asked)

    def report(self, out: Path | str | None = None) -> Path:
        """Write the report of the finished run, one HTML file, and return its path.

        Args:
            out: The file; None: report.html in the run's folder.
        """
        from thickets.flows.report import report_again

        return report_again(self.home, self.folder, None if out is None else Path(out))

    def ask(
        self, question: str, *, k: int = 0, temperature: float = 0.0, every: bool = False, merge: bool = False
    ) -> Answer:
        """Ask the run's ensemble, or its merge; see `thickets.ask`."""
        return ask(self.run_id, question, k=k, temperature=temperature, every=every, merge=merge, home=self.home.root)

    def evaluate(
        self, data: Path | str, *, k: int = 0, base: bool = False, merge: bool = False, **columns: str
    ) -> Reevaluation:
        """Evaluate the run's ensemble, or its merge, on a file; see `thickets.evaluate`."""
        return evaluate(self.run_id, data, k=k, base=base, merge=merge, home=self.home.root, **columns)

    def materialize(self, target: Path | str, **which: Any) -> ExpertFacts | AverageFacts | MergeFacts:
        """Write one model of the run as a checkpoint; see `thickets.materialize`."""
        return materialize(self.run_id, target, home=self.home.root, **which)

    def distill(self, overrides: Sequence[str] = ()) -> DistillSummary:
        """Train one model on the experts' answers; see `thickets.distill`."""
        return distill(self.run_id, overrides, home=self.home.root)

    def rival(self, method: RivalMethod, overrides: Sequence[str] = ()) -> RivalSummary:
        """Make one model by another method, ``es`` or ``grpo``, on the run's questions and budget, and compare it."""
        return rival(self.run_id, method, overrides, home=self.home.root)

    def rescore(self, overrides: Sequence[str] = ()) -> RunSummary:
        """Judge the run's answers again, as a run of its own; see `thickets.rescore`."""
        return rescore(self.run_id, overrides, home=self.home.root)

    def promote(
        self,
        kind: Literal["ensemble", "student", "merge"] = "ensemble",
        name: str | None = None,
        *,
        force: bool = False,
    ) -> Promotion:
        """Register the run's ensemble, student or merge in MLflow; see `thickets.promote`."""
        return promote(self.run_id, kind, name, force=force, home=self.home.root)


def compare(*names: str, home: Path | str | None = None) -> Comparison:
    """Compare finished runs: results, paired differences on the same test questions, discordance of their problems.

    Args:
        names: Two or more run ids, unique prefixes, or ``latest``.
        home: As for `list_runs`.

    Raises:
        InputError: A name fits no run or several, or a run is not finished.

    Example:
        >>> from thickets import RunConfig, compare, search
        >>> data = {"selection": 12, "validation": 10, "test": 14}
        >>> settings = {"model": "tiny", "problem": "largest_number", "data": data}
        >>> runs = [search(RunConfig(population={"size": 6, "sigmas": [s]}, **settings)) for s in (0.1, 0.2)]
        >>> [pair.difference is not None for pair in compare(*(run.run_id for run in runs)).pairs]
        [True]
    """
    from thickets.flows.results.compare import compare as compare_runs

    return compare_runs(home_at(home), names)
