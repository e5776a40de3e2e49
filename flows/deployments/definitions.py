"""The deployments; `deployments/prefect.yaml` lists the same ones for `prefect deploy`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from prefect import Flow

from thickets.flows.config.file import load_config
from thickets.flows.followups import distill_run, evaluate, report
from thickets.flows.randopt import randopt
from thickets.flows.randopt_many import randopt_many
from thickets.flows.regimes.flow import randopt_regimes
from thickets.flows.rounds.flow import randopt_rounds

_PROBLEMS = ("largest_number", "reasoning_gym:chain_sum")
# Made here in seconds, so that a click on Run needs no download; any other models take their place.
_SIGNALS_MODELS = ("signals-needle", "signals-thicket", "signals-plateau")


@dataclass(frozen=True, slots=True)
class Definition:
    """One deployment.

    Attributes:
        flow: The flow that it runs.
        name: Its name, which follows the flow's own name and a slash.
        description: Text on its page.
        tags: Tags to filter by.
        parameters: Values that its form is filled with.
        cron: Schedule in UTC, created paused; None: no schedule.
    """

    flow: Flow[..., Any]
    name: str
    description: str
    tags: tuple[str, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    cron: str | None = None

    @property
    def full_name(self) -> str:
        """The name as `run_deployment` takes it."""
        return f"{self.flow.name}/{self.name}"

    @property
    def entrypoint(self) -> str:
        """Module and function that the worker imports: from the installed package, whatever folder it runs in."""
        return f"{self.flow.fn.__module__}.{self.flow.fn.__name__}"


def definitions() -> tuple[Definition, ...]:
    """Return the definitions of all deployments."""
    # As a form sends it: the fields that the preset sets, in full where a file may have a short form.
    quickstart = load_config("quickstart").model_dump(mode="json", exclude_unset=True)
    several = {key: value for key, value in quickstart.items() if key != "problem"}
    several |= {"problems": [{"name": name} for name in _PROBLEMS]}
    signals = {
        "name": "regimes",
        "problem": {"name": "signals"},
        "data": {"selection": 128, "validation": 128, "test": 512},
        "population": {"size": 96, "sigmas": [0.005, 0.01, 0.02]},
        "scoring": {"candidates_per_shard": 32},
    }
    return (
        Definition(
            randopt,
            "search",
            "Search the neighbourhood of a model for experts of a task. Filled in with the quickstart: a few minutes.",
            ("thickets", "search"),
            {"config": quickstart},
        ),
        Definition(
            randopt,
            "nightly",
            "The quickstart every night at 2:00 UTC, as an example of a schedule; paused until you switch it on. The "
            "same configuration again finds its scores, so that it checks the installation for next to nothing.",
            ("thickets", "search", "nightly"),
            {"config": quickstart | {"name": "nightly"}},
            cron="0 2 * * *",
        ),
        Definition(
            randopt_many,
            "search",
            "One search per problem with the same population, and the comparison of what they found.",
            ("thickets", "search"),
            {"config": several},
        ),
        Definition(
            randopt_rounds,
            "search",
            "Search, make one model, search around that, until none beats its base. Filled in with the quickstart and "
            "two rounds.",
            ("thickets", "search"),
            {"config": quickstart | {"merge": {"directions": ["best", "z_score"]}, "rounds": {"most": 2}}},
        ),
        Definition(
            randopt_regimes,
            "search",
            "One search per model on the same problem, and what surrounds each against the models' size. Filled in "
            "with small networks that continue signals: a minute.",
            ("thickets", "search"),
            {"config": signals, "models": list(_SIGNALS_MODELS)},
        ),
        Definition(
            distill_run,
            "distillation",
            "Train one model on the answers of a finished run's experts.",
            ("thickets", "distillation"),
        ),
        Definition(
            evaluate,
            "evaluation",
            "Measure a run's model on a new file of questions.",
            ("thickets", "evaluation"),
        ),
        Definition(report, "report", "Write a finished run's report again.", ("thickets", "report")),
    )
