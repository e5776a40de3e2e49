"""Turn a pretrained language model into a task expert without gradients: sample, score, select, vote, distil.

    from thickets import RunConfig, search, open_run

    result = search(RunConfig(problem="largest_number", population={"size": 48}))
    run = open_run("latest")
    run.sql("select * from leaderboard limit 5")

The names below are the public interface. Each is imported when it is first used: importing this package starts nothing
and takes milliseconds. What lies below `thickets.flows`, `thickets.tasks` and `thickets.storage` may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thickets.flows.api.models import ask, evaluate, materialize, promote
    from thickets.flows.api.runs import Run, compare, list_runs, open_run
    from thickets.flows.api.searches import check, distill, estimate, judge, regimes, rescore, search
    from thickets.flows.config.file import load_config
    from thickets.flows.config.run import RunConfig
    from thickets.flows.results.summary import RunSummary
    from thickets.storage.errors import InputError, RunError, ThicketsError
    from thickets.tasks.engines import Engine
    from thickets.tasks.noise import noise
    from thickets.tasks.problems import Problem
    from thickets.tasks.types import Candidate

__all__ = [
    "Candidate",
    "Engine",
    "InputError",
    "Problem",
    "Run",
    "RunConfig",
    "RunError",
    "RunSummary",
    "ThicketsError",
    "ask",
    "check",
    "compare",
    "distill",
    "estimate",
    "evaluate",
    "judge",
    "list_runs",
    "load_config",
    "materialize",
    "noise",
    "open_run",
    "promote",
    "regimes",
    "rescore",
    "search",
]

_MODULES = {
    "Candidate": "tasks.types",
    "Engine": "tasks.engines",
    "InputError": "storage.errors",
    "Problem": "tasks.problems",
    "Run": "flows.api.runs",
    "RunConfig": "flows.config.run",
    "RunError": "storage.errors",
    "RunSummary": "flows.results.summary",
    "ThicketsError": "storage.errors",
    "ask": "flows.api.models",
    "check": "flows.api.searches",
    "compare": "flows.api.runs",
    "distill": "flows.api.searches",
    "estimate": "flows.api.searches",
    "evaluate": "flows.api.models",
    "judge": "flows.api.searches",
    "list_runs": "flows.api.runs",
    "load_config": "flows.config.file",
    "materialize": "flows.api.models",
    "noise": "tasks.noise",
    "open_run": "flows.api.runs",
    "promote": "flows.api.models",
    "regimes": "flows.api.searches",
    "rescore": "flows.api.searches",
    "search": "flows.api.searches",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
