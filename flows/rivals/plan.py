"""From a finished run to everything a rival of it needs: model, questions, budget, identity, folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from thickets.flows.config.file import load_config
from thickets.flows.config.rivals import RivalsConfig
from thickets.flows.config.rivals_es import EsConfig
from thickets.flows.config.rivals_grpo import GrpoConfig
from thickets.flows.config.run import RunConfig
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.results.cost import search_cost
from thickets.flows.results.rivals import RivalFolder, RivalSummary, rival_folder
from thickets.flows.results.runs import load_summary
from thickets.flows.results.summary import RunSummary
from thickets.flows.rivals.budget import Budget, budget_of
from thickets.flows.search.answer_limit import recall
from thickets.storage.errors import InputError
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.base import BaseModelRef
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.problems import Problem
from thickets.tasks.problems.splits import Split, Splits
from thickets.tasks.results.cost import Cost
from thickets.tasks.results.rival_method import RivalMethod
from thickets.tasks.rivals.card import rival_card
from thickets.tasks.rivals.questions import draw_learned


@dataclass(frozen=True, slots=True)
class RivalPlan:
    """A rival before anything of it is computed.

    Attributes:
        run: The finished run: its base, prompts, splits and engine are the rival's.
        found: The result of the run; its costs are counted.
        method: Which rival.
        section: Its section.
        budget: What it may spend.
        search: What the search spent.
        questions: What it learns from.
        id: Names the rival among those of the run.
        folder: Where it is kept.
    """

    run: RunPlan
    found: RunSummary
    method: RivalMethod
    section: EsConfig | GrpoConfig
    budget: Budget
    search: Cost
    questions: Split
    id: str
    folder: RivalFolder

    @property
    def of_questions(self) -> str:
        """How many questions it learns from, as the end of a label; empty where it is the selection split."""
        return f", {len(self.questions.examples)} questions" if self._learns_more else ""

    def card(self, how: str) -> str:
        """Return the text of the model's README.md.

        Args:
            how: What made it, for `rival_card`.
        """
        own = "the questions that the search ranked its candidates by"
        learned = f"{len(self.questions.examples)} questions, among them {own}" if self._learns_more else own
        return rival_card(self.run.base.name, self.run.run_id, self.run.config.single_problem.title, how, learned)

    @property
    def _learns_more(self) -> bool:
        return len(self.questions.examples) > len(self.run.splits.selection.examples)


def plan_rival(
    config: RunConfig,
    method: RivalMethod,
    base: BaseModelRef,
    problem: Problem,
    splits: Splits,
    resolve: Callable[[EngineSpec], EngineSpec],
) -> RivalPlan:
    """Put a rival together; nothing is computed or written.

    Args:
        config: Of the run, with a section of the method.
        method: Which rival.
        base: The base model.
        problem: The run's problem.
        splits: The run's three splits.
        resolve: As for `thickets.flows.plan.make_plan`.

    Raises:
        InputError: The run is not finished, the section is missing, or the model is none that can learn.
    """
    section = config.rivals.section(method) if config.rivals else None
    if config.rivals is None or section is None:
        raise InputError(f"rivals.{method}: missing; add the section to the config, or --set rivals.{method}={{}}")
    if not kind_of(base.path).is_language_model:
        raise InputError(f"model: {base.name} is no language model, and rivals are made for these")
    learned = recall(config, base, problem, splits, resolve)
    run = make_plan(config, base, problem, splits, resolve, limit=None if learned is None else learned.max_tokens)
    run_folder = run.home.run(run.run_id)
    if not run_folder.summary.is_file():
        raise InputError(
            f"RUN: there is no finished run {run.run_id}, which is what this configuration is called here; finish it "
            "first. (If it was made elsewhere or with other versions, its answers and a rival's would not compare.)"
        )
    found = load_summary(run_folder)
    search = search_cost(found)
    name = rival_id(run.run_id, config.rivals, method)
    return RivalPlan(
        run=run,
        found=found,
        method=method,
        section=section,
        budget=budget_of(config.rivals.budget, search),
        search=search,
        questions=draw_learned(problem, splits, config.rivals.questions, config.data.seed),
        id=name,
        folder=rival_folder(run_folder, name),
    )


def rival_config(home: Home, folder: RunFolder, method: RivalMethod, overrides: Sequence[str]) -> RunConfig:
    """Return the configuration of a finished run, with its `rivals` section as the overrides change it.

    Raises:
        InputError: The run is not finished, or an override is about anything else.
    """
    load_summary(folder)
    for override in overrides:
        if not override.startswith("rivals."):
            raise InputError(
                f"--set: {override!r} would change the run that the rival is compared with; only rivals.FIELD=VALUE "
                "is possible"
            )
    config = load_config(str(folder.config), overrides)
    storage = config.storage.model_copy(update={"home": home.root})
    rivals = config.rivals or RivalsConfig()
    if rivals.section(method) is None:
        rivals = rivals.model_copy(update={method: EsConfig() if method == "es" else GrpoConfig()})
    return config.model_copy(update={"storage": storage, "rivals": rivals})


def load_rival(config: RunConfig, run_id: str, method: RivalMethod) -> RivalSummary:
    """Load the result of a rival of a run, by the run's configuration.

    Raises:
        InputError: It is not finished.
    """
    assert config.rivals is not None
    run = Home(config.storage.home).run(run_id)
    return rival_folder(run, rival_id(run_id, config.rivals, method)).load()


def rival_id(run_id: str, rivals: RivalsConfig, method: RivalMethod) -> str:
    """Return the method and the first 8 hex digits of the hash of everything that can change its model."""
    section = rivals.section(method)
    assert section is not None
    content: dict[str, Any] = {
        "run": run_id,
        "method": method,
        "section": section.model_dump(mode="json"),
        "budget": rivals.budget.model_dump(mode="json"),
    }
    if rivals.questions is not None:  # unset, ids are those of versions that had no such field
        content["questions"] = rivals.questions
    return f"{method}-{fingerprint(content)[:8]}"
