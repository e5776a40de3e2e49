"""Does a run come through whatever is done to it, with the result of one that nobody disturbs?

    python -m benchmarks.chaos --rounds 100 --seed 1 [--without flipped ...] [--keep FOLDER] [--json FILE]

A small search on a random model is started again and again. In each round something is done to it: it is ended by
SIGKILL at a random moment, or an engine, its worker or a server is; its disk fills; a shard is cut off or a bit of it
changes; verdicts or the score database are deleted; a reader holds the database; it is started twice; the clock steps
by an hour. The next round goes on with the same search until that is finished (after five rounds it is left in peace),
and then with a new one in a fresh home. After each round every shard that was finished must be the same file, and every
finished search must have the manifest, the evaluation and the answers of an undisturbed one, and have named in its log
every damage to a shard. Whatever fails is told, and the exit status is 1.

The seed decides what is done (of what this machine can do), at which share of what the start at hand has still to do
(told by its shards, and by the clock before the first and after the last), and to which file. Moments depend on the
machine all the same: one seed tries the same things, but does not end the same instruction.
"""

from __future__ import annotations

import math
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import polars as pl

from benchmarks.chaos_clock import make_library
from benchmarks.chaos_disturbances import DISTURBANCES, Disturbance, kill_server, kill_worker, step_clock
from benchmarks.chaos_model import make_model
from benchmarks.chaos_search import NotSurvivedError, Result, Search, environment_in, measure, result
from benchmarks.chaos_servers import Services, small_disk
from benchmarks.output import parser, show
from thickets.flows.runtime.environment import set_command_line_defaults
from thickets.storage.errors import ThicketsError

WHAT = {
    "flow": "run killed",
    "engine": "engine process killed",
    "worker": "worker killed",
    "prefect": "Prefect server killed",
    "mlflow": "MLflow server killed",
    "truncated": "run killed, shard cut off",
    "flipped": "run killed, bit of a shard changed",
    "verdicts": "run killed, verdicts deleted",
    "database": "run killed, score database deleted",
    "held": "score database held by a reader",
    "twice": "two identical runs at once",
    "disk": "disk full until the run ended",
    "clock": "clock stepped by an hour",
}
"""The rows of the table."""

_SERVICES = ("worker", "prefect", "mlflow")
_PLAIN_KILLS = 3  # rounds for each round of another kind
_ROUNDS_PER_SEARCH = 5
# What reading a result may raise besides our own errors, where a file of it is damaged.
_UNREADABLE = (ThicketsError, NotSurvivedError, duckdb.Error, pl.exceptions.PolarsError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Round:
    """One disturbance: which kind, at which share of a start's work, and from where its further choices come."""

    kind: str
    share: float
    seed: int


@dataclass
class Outcome:
    """What was tried and what was not survived.

    Attributes:
        tried: Rounds by kind.
        missed: Those that found nothing to disturb: the start had ended before its moment, or written nothing yet.
        failed: Those after which something was wrong.
        failures: What, in words.
        untried: Kinds that this machine cannot do, and why.
        n_searches: Searches that were finished and compared, or given up after a failure.
        n_starts: Processes of `thickets run`.
    """

    tried: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    untried: dict[str, str] = field(default_factory=dict)
    n_searches: int = 0
    n_starts: int = 0

    def rows(self) -> dict[str, dict[str, int]]:
        """Return the table: a row per kind, and their sum."""
        rows = {WHAT[kind]: self._row([kind]) for kind in WHAT if self.tried[kind]}
        return {**rows, "all": self._row(list(WHAT))}

    def _row(self, kinds: Sequence[str]) -> dict[str, int]:
        tried, missed, failed = (sum(map(c.__getitem__, kinds)) for c in (self.tried, self.missed, self.failed))
        return {"rounds": tried, "missed": missed, "survived": tried - missed - failed, "failed": failed}


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--rounds", type=int, default=100)
    options_parser.add_argument("--seed", type=int, default=0, help="of the choice of disturbances")
    options_parser.add_argument("--without", nargs="+", choices=WHAT, default=[], metavar="KIND", help=", ".join(WHAT))
    options_parser.add_argument("--only", nargs="+", choices=WHAT, default=list(WHAT), metavar="KIND")
    options_parser.add_argument("--minutes", type=float, default=math.inf, help="begin no further round after these")
    options_parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and keep what failed")
    options = options_parser.parse_args()
    set_command_line_defaults()
    kinds = [kind for kind in options.only if kind not in options.without]
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # servers and mounts are taken down
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        outcome = chaos(options.rounds, options.seed, kinds, folder, until=began + 60 * options.minutes)
    minutes = (time.monotonic() - began) / 60
    show(
        f"{outcome.tried.total()} rounds of chaos, seed {options.seed}: {outcome.n_searches} searches, "
        f"{outcome.n_starts} starts, {minutes:.1f} minutes",
        outcome.rows(),
        options.json,
    )
    for kind, why in outcome.untried.items():
        print(f"not tried here: {WHAT[kind]} ({why})")
    for failure in outcome.failures:
        print(failure)
    sys.exit(bool(outcome.failures))


def chaos(n_rounds: int, seed: int, kinds: Sequence[str], folder: Path, *, until: float = math.inf) -> Outcome:
    """Disturb searches for a number of rounds.

    Args:
        n_rounds: How many.
        seed: Of the choice of disturbances.
        kinds: Those that may be chosen.
        folder: For homes, logs and servers; what did not fail is deleted.
        until: No round begins after this time, by the monotonic clock.
    """
    outcome = Outcome()
    folder.mkdir(parents=True, exist_ok=True)
    environment = environment_in(folder)
    with ExitStack() as stack:
        disk = folder / "disk"
        cannot = stack.enter_context(small_disk(disk))
        disturbances = {kind: DISTURBANCES[kind] for kind in kinds if kind in DISTURBANCES}
        if cannot and disturbances.pop("disk", None) is not None:
            outcome.untried["disk"] = cannot
        if "clock" in kinds:
            library = make_library(folder)
            if isinstance(library, Path):
                disturbances["clock"] = step_clock(library)
            else:
                outcome.untried["clock"] = library
        if wanted := [kind for kind in kinds if kind in _SERVICES]:
            services = Services(folder / "services", environment)
            stack.callback(services.stop)
            servers = {name: kill_server(services, name) for name in wanted if name != "worker"}
            disturbances |= servers | ({"worker": kill_worker(services)} if "worker" in wanted else {})
        model = make_model(folder / "model")
        template = Search(folder / "undisturbed", folder / "undisturbed" / "home", model, environment)
        template.timing = measure(template)
        undisturbed = result(template.home)
        timing = template.timing
        _say(
            f"undisturbed: {timing.n_shards} shards, {timing.setup_s:.1f} s to the first, {timing.shard_s:.3f} s each, "
            f"{timing.wrap_up_s:.1f} s after the last"
        )
        searches = _searches(template, folder, None if cannot else disk)
        _rounds(plan(n_rounds, seed, list(disturbances)), disturbances, searches, undisturbed, outcome, until)
    return outcome


def plan(n_rounds: int, seed: int, kinds: Sequence[str]) -> list[Round]:
    """Choose the rounds: every kind as often as the others, but for plain kills, of which there are more."""
    draw = random.Random(seed)
    rounds: list[Round] = []
    while len(rounds) < n_rounds:
        deck = [kind for kind in kinds for _ in range(_PLAIN_KILLS if kind == "flow" else 1)]
        draw.shuffle(deck)
        rounds += [Round(kind, draw.random(), draw.getrandbits(32)) for kind in deck]
    return rounds[:n_rounds]


def _rounds(
    rounds: Sequence[Round],
    disturbances: Mapping[str, Disturbance],
    searches: Iterator[Search],
    undisturbed: Result,
    outcome: Outcome,
    until: float,
) -> None:
    """Carry the rounds out, and finish every search that they begin."""
    search, done = next(searches), list[Round]()
    for number, each in enumerate(rounds, 1):
        began, fault, is_hit = time.monotonic(), "", True
        outcome.tried[each.kind] += 1
        done.append(each)
        try:
            is_hit = disturbances[each.kind](search, each.share, random.Random(each.seed))
            search.look()
            if search.is_finished:
                search.check(undisturbed)
            elif len(done) == _ROUNDS_PER_SEARCH or number == len(rounds) or time.monotonic() > until:
                search.end_well(search.start())
                search.look()
                search.check(undisturbed)
        except _UNREADABLE as error:
            fault = f"{type(error).__name__}: {error}"
        outcome.failed[each.kind] += bool(fault)
        outcome.missed[each.kind] += not (fault or is_hit)
        told = fault or ("" if is_hit else "missed")
        _say(f"round {number}: {each.kind} at {each.share:.2f}, {time.monotonic() - began:.1f} s {told}")
        if fault or search.is_finished:
            outcome.n_searches += 1
            outcome.n_starts += len(search.starts)
            if fault:
                before = ", ".join(one.kind for one in done[:-1]) or "nothing"
                outcome.failures.append(f"round {number}, {WHAT[each.kind]} (before it: {before}): {fault}")
            _clear(search, failed=bool(fault))
            if time.monotonic() > until:
                return
            search, done = next(searches), []


def _searches(template: Search, folder: Path, disk: Path | None) -> Iterator[Search]:
    number = 0
    while True:
        number += 1
        place = folder / f"search-{number}"
        home = (disk or folder) / f"home-{number}"
        yield replace(template, folder=place, home=home, disk=disk, is_finished=False, starts=[], _seen={}, _owed=[])


def _clear(search: Search, *, failed: bool) -> None:
    """Delete a search; one that failed is moved off the small disk."""
    for start in search.starts:
        if not start.has_ended:
            start.kill()
    if failed and search.home.is_dir():
        shutil.copytree(search.home, search.folder / "home", dirs_exist_ok=True)
    elif not failed:
        shutil.rmtree(search.folder)
    shutil.rmtree(search.home, ignore_errors=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
