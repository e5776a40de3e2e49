"""Judges the answers of a run again, as a run of its own: nothing is generated that is there.

The configuration is the run's, with everything pinned that a verifier would bring along (its instruction and its length
of answers), and the changes on top. They may change verdicts, and what follows from verdicts, but no answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thickets.flows.config.file import flatten, load_config, with_overrides
from thickets.flows.config.run import RunConfig
from thickets.flows.plan import RunPlan
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.base import HasInstruction


def rescore_config(home: Home, folder: RunFolder, overrides: Sequence[str]) -> RunConfig:
    """Return the configuration of a run with changes that are about judging.

    A distillation and rivals are left out unless they are among the changes: training is work that nobody asked for.

    Args:
        home: The home of the run.
        folder: The run.
        overrides: ``section.field=value`` assignments.

    Raises:
        InputError: Nothing of the run was ever scored, or the changes cannot be used.
    """
    if not folder.identity.is_file():
        raise InputError(f"RUN: {folder.run_id} was never scored; start it with `thickets run {folder.config}`")
    config = load_config(str(folder.config))
    decoding = _read(folder.identity)["decoding"]
    pinned = config.model_copy(
        update={
            "problem": config.single_problem.model_copy(update={"instruction": _instruction(config, folder)}),
            "decoding": config.decoding.model_copy(
                update={"max_tokens": decoding["max_tokens"], "stop": tuple(decoding["stop"])}
            ),
            "storage": config.storage.model_copy(update={"home": home.root}),
            "distillation": None,
            "rivals": None,
        }
    )
    changed = with_overrides(pinned, overrides)
    if changed.problems is not None:
        raise InputError("--set problems: one run is rescored at a time; change its problem instead")
    if changed.decoding.learns_limit:
        raise InputError("--set decoding.max_tokens: learned would change what is generated; leave it out")
    return changed


def check_same_answers(plan: RunPlan, rescored: str) -> None:
    """Check that a plan judges the answers of a run otherwise, and needs no other answers.

    Args:
        plan: The plan.
        rescored: Id of the run.

    Raises:
        InputError: It would generate other answers, or it is that run.
    """
    folder = plan.home.run(rescored)
    before, now = flatten(_read(folder.identity)), flatten(json.loads(json.dumps(plan.identity)))
    differ = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if differ:
        parts = "; ".join(_part(name, before.get(name), now.get(name)) for name in differ)
        raise InputError(
            f"RUN: the answers of {rescored} cannot be judged again like this, because other ones would be needed: "
            f"{parts}. Leave that as it was, or generate with `thickets run`"
        )
    if plan.run_id == rescored:
        raise InputError(
            f"RUN: this is how {rescored} was judged; say what is to change, for example --set problem.verifier=math"
        )


def _instruction(config: RunConfig, folder: RunFolder) -> str | None:
    """Return the run's prompt if it came with the verifier; None where the problem's own stays what it is."""
    section = config.single_problem
    if section.instruction is not None or section.path is None:
        return section.instruction
    if folder.manifest.is_file() and (then := _read(folder.manifest)["problem"].get("instruction")):
        return str(then)
    problem = load_problem(section)
    return problem.instruction if isinstance(problem, HasInstruction) else None


def _part(name: str, before: Any, now: Any) -> str:
    if name.startswith("questions."):
        return f"the prompts of the {name.partition('.')[2]} split are others"
    return f"{name} was {before!r} and is {now!r}"


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
