"""Checks a configuration before Prefect starts, to report a typing mistake in a second and not in half a minute."""

from __future__ import annotations

import os

from thickets.flows.config.prompts import plan_prompts
from thickets.flows.config.run import RunConfig
from thickets.flows.config.training_memory import check_training_memory
from thickets.storage.errors import InputError
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import Home
from thickets.storage.models.base import BaseModelRef
from thickets.storage.shards.folder import check_writable
from thickets.storage.tracking.store import check_address
from thickets.tasks.distillation.generic import generic_text
from thickets.tasks.distillation.training import check_can_learn, check_installed
from thickets.tasks.engines import engine_kind
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.engines.known_models import check_weights
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits, draw_training
from thickets.tasks.rivals.grpo.check import check_generation, check_grpo
from thickets.tasks.rivals.questions import draw_learned
from thickets.tasks.scoring.executors.ray_cluster import check_reachable


def check_inputs(config: RunConfig) -> None:
    """Check the folders, the model, the data and the split sizes; the flow finds the model in the cache afterwards.

    Nothing is written: what is refused leaves no empty home behind.

    Raises:
        InputError: Something cannot be used; the message names its field.
    """
    Home(config.storage.home).check_writable()
    if config.storage.shards is not None:
        check_writable(config.storage.shards)
    if (uri := config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")) is not None:
        check_address(uri)
    if config.engine.executor == "local" and config.engine.device not in ("auto", "cpu"):
        from thickets.tasks.engines.devices import pick_device  # PyTorch: seconds, and a GPU's engine needs it anyway

        pick_device(config.engine.device)
    if config.engine.executor == "ray":
        check_reachable(config.engine.address)
    base = find_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    engine_kind(config.engine.kind, base.path)
    if config.distillation is not None:
        check_installed()
        check_can_learn(base.name, base.path)
        generic_text(config.distillation.generic_text)
    if config.rivals is not None and config.rivals.methods and not kind_of(base.path).is_language_model:
        raise InputError(f"rivals: {base.name} is no language model, and rivals are made for these; remove the section")
    _check_grpo(config, base)
    _check_problems(config, base)
    check_weights(base, trust_remote_code=config.engine.trust_remote_code)  # last: the first time takes seconds


def _check_grpo(config: RunConfig, base: BaseModelRef) -> None:
    section = None if config.rivals is None else config.rivals.grpo
    if section is None:
        return
    for each in config.per_problem:
        check_grpo(base.name, base.path, load_problem(each.single_problem))
    if section.generation == "vllm" and config.engine.executor == "local":
        from thickets.tasks.engines.devices import pick_device

        check_generation(section.generation, str(pick_device(config.engine.device)))


def _check_problems(config: RunConfig, base: BaseModelRef) -> None:
    if config.problems is None:
        _check_problem(config, base)
        return
    known: dict[str, int] = {}
    for index, each in enumerate(config.per_problem):
        try:
            questions = _check_problem(each, base)
        except InputError as error:
            raise InputError(f"problems[{index}]: {error}") from None
        if (first := known.setdefault(questions, index)) != index:
            raise InputError(f"problems[{index}] asks the same as problems[{first}]; each may stand once")


def _check_problem(config: RunConfig, base: BaseModelRef) -> str:
    """Check that a problem has enough questions, that the model has room for each, and the machine for training.

    Returns:
        A hash that problems with the same prompts and splits share.
    """
    problem, data = load_problem(config.single_problem), config.data
    splits = draw_splits(problem, **data.draw)
    prompts = plan_prompts(config, base.path, problem, splits)
    if config.rounds is not None:
        for number in range(2, config.rounds.most + 1 if config.rounds.questions == "own" else 2):
            own = draw_splits(problem, **config.rounds.data(data, number).draw)
            plan_prompts(config, base.path, problem, [own.selection, own.validation])
    if config.rivals is not None and config.rivals.questions is not None:
        learned = draw_learned(problem, splits, config.rivals.questions, data.seed)
        plan_prompts(config, base.path, problem, [learned])
    if config.distillation is not None:
        kept = splits.with_changed(each.split for each in prompts.splits)
        training = draw_training(problem, kept, config.distillation.examples, config.distillation.seed)
        more = plan_prompts(config, base.path, problem, [training])
        check_training_memory(config, base, max(each.longest for each in (*prompts.splits, *more.splits)))
    return fingerprint({"problem": problem.identity(), "splits": [split.sha256 for split in splits]})
