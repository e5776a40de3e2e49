"""Shows the progress of scoring: in the terminal or the log, and as a Prefect artifact in the UI."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from thickets.flows.results.progress import ProgressNow
from thickets.flows.results.summary import EngineUse
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.prefect_server import LatestOnly, shown
from thickets.flows.search.forecast import WRAP_UP_S, Forecast
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.evaluation.cost import Times, Worked, timed_as
from thickets.tasks.results.text import duration
from thickets.tasks.scoring.onlooker import Onlooker
from thickets.tasks.scoring.units import UnitReport

_ARTIFACT_EVERY_S = 5.0
_LINE_EVERY_S = 20.0
_FILE_EVERY_S = 2.0


class ScoringProgress:
    """Counts units and shows the count: a bar on a terminal (on standard error), elsewhere a log line now and then.

    Also adds up the times of the engines, which tell what share was useful work. Reports may come from
    several threads.

    Attributes:
        forecast: The stages of the run. With it, the time left is that until the report; else until the round's end.
        file: Where the progress is kept for other processes; None: nowhere.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._show_if_possible = Onlooker(self._show, "showing the progress")
        self._use = EngineUse()
        self._times: dict[str, Worked] = {}
        self._save_if_possible = Onlooker(self._save, "writing the progress")
        self.forecast: Forecast | None = None
        self.file: Path | None = None
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._bar_task = TaskID(0)
        self._artifact: LatestOnly[tuple[float, str]] | None = None
        self._split, self._total, self._n_engines = "", 0, 1
        self._reset()

    def _reset(self) -> None:
        self._done, self._split_tokens, self._start_s = 0, 0, 0.0
        self._best = self._base = (0, 0)
        self._correct: dict[str, tuple[int, int]] = {}
        self._started = self._last_artifact = self._last_file = time.monotonic()
        self._n_before = 0
        self._last_line = -_LINE_EVERY_S  # the first score is shown at once

    @property
    def engine(self) -> EngineUse:
        """Times and answers of the engines so far."""
        return self._use

    @property
    def times(self) -> Times:
        """What engines took so far, by respondent and split."""
        with self._lock:
            return dict(self._times)

    @contextmanager
    def split(self, name: str, n_units: int, n_done: int, n_engines: int) -> Iterator[None]:
        """Show the scoring of one split.

        Args:
            name: The split, or another name of this round of scoring.
            n_units: Units (candidate on block) still to score.
            n_done: Units that an earlier run has left finished.
            n_engines: Engines that score them.
        """
        self._reset()
        self._split, self._total, self._n_engines, self._n_before = name, n_units, n_engines, n_done
        self._save_if_possible()
        reused = f" ({n_done} units were scored before)" if n_done else ""
        log.info(f"{name}: {n_units} units to score{reused}" if n_units else f"{name}: nothing left to score{reused}")
        if not n_units:
            yield
            return
        self._artifact = _open_artifact(name)
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("  {task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}"),
                console=self._console,
            )
            self._bar_task = self._bar.add_task(self._title, total=n_units, facts="")
            self._bar.start()
        try:
            yield
        finally:
            if self._bar:
                self._bar.stop()
                self._bar = None
            elif self._done:
                log.info(self._line())
            self._save_if_possible()
            if self._artifact is not None:
                self._update_artifact()
                self._artifact.close()
                self._artifact = None
            spent = {"scoring_s": self._use.scoring_s + time.monotonic() - self._started, "n_engines": n_engines}
            self._use = self._use.model_copy(update=spent)

    def on_unit(self, report: UnitReport) -> None:
        """Count one finished unit, and show it."""
        with self._lock:
            self._count(report)
            self._show_if_possible()

    def _count(self, report: UnitReport) -> None:
        self._done += 1
        self._split_tokens += report.n_tokens
        self._start_s += report.start_s
        spent = {name: getattr(self._use, name) + getattr(report, name) for name in ("start_s", "load_s", "generate_s")}
        self._use = self._use.model_copy(update=spent | {"n_answers": self._use.n_answers + report.n})
        name = timed_as(report.split, report.candidate_id)
        self._times[name] = self._times.get(name, Worked()) + Worked(report.n, report.load_s + report.generate_s)
        if not report.candidate_id.startswith(BASE_ID):  # a candidate; neither the base nor a control made of it
            before = self._correct.get(report.candidate_id, (0, 0))
            score = (before[0] + report.n_correct, before[1] + report.n)
            self._correct[report.candidate_id] = score
            self._best = max(self._best, score)
        elif report.candidate_id == BASE_ID:
            self._base = (self._base[0] + report.n_correct, self._base[1] + report.n)

    def _show(self) -> None:
        now = time.monotonic()
        if self._bar:
            self._bar.update(self._bar_task, completed=self._done, facts=f"{self._facts()}, {self._left()}")
        elif now - self._last_line > _LINE_EVERY_S and self._done < self._total:  # the last one is told at the end
            self._last_line = now
            log.info(self._line())
        if now - self._last_artifact > _ARTIFACT_EVERY_S:
            self._last_artifact = now
            self._update_artifact()
        if now - self._last_file > _FILE_EVERY_S:
            self._save_if_possible()

    def _facts(self) -> str:
        elapsed = max(time.monotonic() - self._started, 1e-9)
        base = f"base {self._base[0]}/{self._base[1]}, " if self._base[1] else ""
        best = f"best {self._best[0]}/{self._best[1]}, " if self._best[1] else ""
        return f"{base}{best}{self._split_tokens / elapsed:.0f} tokens/s"

    def _line(self) -> str:
        if not self._done:
            return f"  {self._title}: none of {self._total} scored"
        return f"  {self._title}: {self._done}/{self._total}, {self._facts()}, {self._left()}"

    @property
    def _title(self) -> str:
        place = self.forecast.place(self._split) if self.forecast else None
        return f"stage {place} of {self.forecast.n_stages}, {self._split}" if place and self.forecast else self._split

    def _left(self) -> str:
        until = "left" if self.forecast is None else "to the report"
        return f"about {duration(self._left_s())} {until}"

    def _left_s(self) -> float:
        """Return the time left: until the report where the stages are known, else until the end of this round."""
        elapsed = time.monotonic() - self._started
        # What an answer has cost in this session; the start of the engines, side by side, is paid for.
        spent_s = max(self._use.scoring_s + elapsed - self._use.start_s / self._n_engines, 0.0)
        left_s = max(elapsed - self._start_s / self._n_engines, 0.0) / self._done * (self._total - self._done)
        if self.forecast is None:
            return left_s
        left_s += self.forecast.after(self._split) * spent_s / max(self._use.n_answers, 1)
        return left_s + WRAP_UP_S

    def _save(self) -> None:
        """Keep the progress in its file."""
        self._last_file = time.monotonic()
        if self.file is None:
            return
        elapsed_s = max(self._last_file - self._started, 1e-9)
        now = ProgressNow(
            label=self._split,
            stages=tuple(self.forecast.answers) if self.forecast else (),
            place=self.forecast.place(self._split) if self.forecast else None,
            n_done=self._done,
            n_units=self._total,
            n_before=self._n_before,
            tokens_per_s=self._split_tokens / elapsed_s,
            left_s=self._left_s() if self._done else None,
            is_until_report=self.forecast is not None,
            written=datetime.now(UTC),
        )
        now.save(self.file)

    def _update_artifact(self) -> None:
        if self._artifact is not None:
            self._artifact.offer((100.0 * self._done / self._total, self._line().strip()))


def _open_artifact(split: str) -> LatestOnly[tuple[float, str]] | None:
    """Create a split's progress artifact; None outside of a flow, and where the server does not take it."""
    if FlowRunContext.get() is None:
        return None
    what, key = f"the progress of the {split} split", f"scoring-{split.replace(' ', '-')}"
    with shown(what):
        created = create_progress_artifact(0.0, key=key, description=f"Scoring, {split} split")
        artifact = cast(UUID, created)  # a coroutine only for asynchronous flows

        def send(state: tuple[float, str]) -> None:
            percent, description = state
            update_progress_artifact(artifact, percent, description=description)

        return LatestOnly(send, what)
    return None
