"""Opens an `Answerer` from a manifest, or from a recipe and a checkpoint, after checking that it is the run's.

The base's content hash, the prompt template, the problem's rules and the noise version must be those of the run:
anything else would be another ensemble, so it is an error.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from thickets.storage.errors import InputError
from thickets.storage.models.base import BaseModelRef, hub_commit
from thickets.storage.models.manifest import Manifest, MergeManifest, Recipe
from thickets.tasks.engines import EngineSpec, VllmOptions, build_engine, resolve_spec
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.engines.prompts import Template
from thickets.tasks.noise import NOISE_VERSION, Perturbation
from thickets.tasks.problems import Problem, ProblemConfig, find_kind, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.serving.answerer import Answerer
from thickets.tasks.serving.questions import Voter
from thickets.tasks.types import Candidate, Merge, Sampling, Scalar
from thickets.tasks.verifiers.thought import Thoughts

BASE_VARIABLE = "THICKETS_BASE_MODEL"
# Stands for the file of a problem that reads one: only examples are read from it, and answering needs none.
_NO_FILE = "questions.jsonl"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What asking a model takes, before its engine is built.

    Attributes:
        spec: The engine, resolved.
        template: Renders prompts.
        judge: Extracts answers, as the run did.
        sampling: How the run decoded, greedily.
    """

    spec: EngineSpec
    template: Template
    judge: Judge
    sampling: Sampling

    def open(self, voters: Sequence[Voter]) -> Answerer:
        """Build the engine in this process."""
        return Answerer(build_engine(self.spec), self.template, self.judge, self.sampling, voters)


def open_ensemble(
    manifest: Manifest,
    *,
    device: str = "auto",
    trust_remote_code: bool = False,
    voters: Sequence[Voter] | None = None,
) -> Answerer:
    """Rebuild an ensemble, or a merge: it answers alone.

    Args:
        manifest: The base, the noise and the experts, or the merge's members.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.
        trust_remote_code: Run Python code that comes with the base model.
        voters: The voters; None: the experts, or the merge.

    Raises:
        InputError: The base cannot be found or is another model, or the manifest does not fit this version.
    """
    parts = ensemble_parts(manifest, device=device, trust_remote_code=trust_remote_code)
    return parts.open(voters_of(manifest) if voters is None else voters)


def ensemble_parts(manifest: Manifest, *, device: str = "auto", trust_remote_code: bool = False) -> Parts:
    """Find what asking an ensemble or a merge takes; arguments and errors as for `open_ensemble`."""
    if manifest.noise.version != NOISE_VERSION:
        raise InputError(
            f"manifest: noise version is {manifest.noise.version}; this version of thickets makes {NOISE_VERSION}"
        )
    recipe, base = manifest.recipe, find_base(manifest, trust_remote_code=trust_remote_code)
    noise = Perturbation.of(manifest.noise)
    return parts_of(recipe, base.path, noise, device=device, trust_remote_code=trust_remote_code)


def merge_of(manifest: MergeManifest) -> Merge:
    """Return the merge that a manifest names."""
    members = manifest.members
    return Merge(
        tuple(Candidate(member.seed, member.sigma) for member in members),
        tuple(member.coefficient for member in members),
    )


def voters_of(manifest: Manifest) -> list[Voter]:
    """Return the merge, or the experts, by rank, each with the number of votes that the vote rule gives it."""
    if isinstance(manifest, MergeManifest):
        return [Voter(merge_of(manifest))]
    weighted = manifest.vote == "weighted"
    return [Voter(Candidate(row.seed, row.sigma), row.weight if weighted else 1) for row in manifest.experts]


def find_base(manifest: Manifest, *, trust_remote_code: bool = False) -> BaseModelRef:
    """Find the base model on this machine: ``$THICKETS_BASE_MODEL`` if that is set, else by the name in the manifest.

    Raises:
        InputError: It is not there, or its weights have another hash.
    """
    told = os.environ.get(BASE_VARIABLE)
    try:
        if told:
            base = find_base_model(told, trust_remote_code=trust_remote_code)
        else:
            revision = hub_commit(manifest.base.revision)
            base = find_base_model(manifest.base.name, revision, trust_remote_code=trust_remote_code)
    except InputError as error:
        where = f"{BASE_VARIABLE} is {told!r}" if told else f"set {BASE_VARIABLE} to the base model's folder"
        raise InputError(f"{error} ({where})") from None
    if base.sha256 != manifest.base.sha256:
        what = "merge" if isinstance(manifest, MergeManifest) else "ensemble"
        raise InputError(
            f"{BASE_VARIABLE if told else 'model'}: the weights of {base.name} have SHA-256 {base.sha256}, but the "
            f"{what}'s base {manifest.base.name} had {manifest.base.sha256}; noise on other weights is another model"
        )
    return base


def open_answerer(
    recipe: Recipe,
    folder: Path,
    voters: Sequence[Voter] = (Voter(None),),
    perturbation: Perturbation = Perturbation(),  # noqa: B008 - immutable
    *,
    device: str = "auto",
    trust_remote_code: bool = False,
    own_template: bool = False,
) -> Answerer:
    """Open a checkpoint, or its neighbours, with the prompts, decoding and judging of a recipe.

    Args:
        recipe: The recipe.
        folder: The checkpoint.
        voters: The voters; by default the checkpoint itself.
        perturbation: What makes neighbours of the checkpoint.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.
        trust_remote_code: Run Python code that comes with the model.
        own_template: Use the checkpoint's own prompt template if it is not the recipe's, instead of refusing it.

    Raises:
        InputError: The checkpoint's prompt template or the problem is not that of the recipe.
    """
    parts = parts_of(
        recipe, folder, perturbation, device=device, trust_remote_code=trust_remote_code, own_template=own_template
    )
    return parts.open(voters)


def parts_of(
    recipe: Recipe,
    folder: Path,
    perturbation: Perturbation = Perturbation(),  # noqa: B008 - immutable
    *,
    device: str = "auto",
    trust_remote_code: bool = False,
    own_template: bool = False,
) -> Parts:
    """Find what asking a checkpoint or its neighbours takes; arguments and errors as for `open_answerer`."""
    problem = load_recipe_problem(recipe)
    given = recipe.prompt_template.get("chat_template_kwargs")
    template = _template(folder, given, trust_remote_code=trust_remote_code, own_template=own_template)
    if not own_template:
        _same("the chat template or tokenizer of the model", dict(template.identity()), recipe.prompt_template)
    spec = _spec(recipe, folder, perturbation, device, trust_remote_code)
    decoding = recipe.decoding
    # Another prompt template may end its turns with other stop strings; those of the run's own are in the recipe.
    stop = dict.fromkeys((*decoding["stop"], *template.stop))
    sampling = Sampling(max_tokens=decoding["max_tokens"], stop=tuple(stop))
    return Parts(spec, template, Judge(problem, recipe_reasoning(recipe)), sampling)


def _template(
    folder: Path, given: Mapping[str, Scalar] | None, *, trust_remote_code: bool, own_template: bool
) -> Template:
    """Make the template of a checkpoint, with the values that the run gave to its own.

    Another model's template that does not look at them goes without.
    """
    kind = kind_of(folder)
    try:
        return kind.prompt_template(folder, given, trust_remote_code=trust_remote_code)
    except InputError as error:
        if not (own_template and given):
            raise
        logger.warning("%s: prompts are rendered without what the run had there", error)
        return kind.prompt_template(folder, trust_remote_code=trust_remote_code)


def load_recipe_problem(recipe: Recipe, **changes: Any) -> Problem:
    """Load the problem of a recipe.

    Args:
        recipe: Its `problem_config` is used.
        changes: Fields of the problem's config to replace, such as ``path``.

    Raises:
        InputError: It is not the problem that the run had.
    """
    values = dict(recipe.problem_config)
    kind = find_kind(str(values.get("name")))
    if kind is not None and kind.reads_data:
        values["path"] = _NO_FILE
    try:
        problem = load_problem(ProblemConfig.model_validate(values | changes))
    except ValidationError as error:
        raise InputError(f"problem: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    _same(f"problem {problem.name}", dict(problem.identity()), recipe.problem)
    return problem


def recipe_reasoning(recipe: Recipe) -> Thoughts | None:
    """Return what begins and what ends a thought in the replies of a recipe's models; None: they hold none."""
    tags = recipe.decoding["reasoning"]
    return None if tags is None else Thoughts(*tags)


def _same(what: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    differ = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if differ:
        each = "; ".join(f"{key} is {found.get(key)!r}, was {wanted.get(key)!r}" for key in differ)
        raise InputError(f"{what} is not what the run had: {each}")


def _spec(recipe: Recipe, folder: Path, perturbation: Perturbation, device: str, trust_remote_code: bool) -> EngineSpec:
    """Specify the run's engine on this machine: Transformers where a run had vLLM and it is not installed here."""
    wanted = recipe.engine
    options = {each.name: wanted[each.name] for each in fields(VllmOptions) if each.name in wanted}
    spec = resolve_spec(
        EngineSpec(
            # `auto` takes vLLM where it can, which is what a run that had it wants.
            kind="auto" if wanted["kind"] == "vllm" else wanted["kind"],
            model_path=folder,
            perturbation=perturbation,
            device=device,
            dtype=_dtype(wanted, folder),
            batch_size=wanted["batch_size"],
            trust_remote_code=trust_remote_code,
            vllm=VllmOptions(**options),
        )
    )
    if spec.kind != wanted["kind"]:
        logger.warning(
            "the run's engine, %s, is not available here: %s answers, and some texts may differ",
            wanted["kind"],
            spec.kind,
        )
    return spec


def _dtype(engine: dict[str, Any], folder: Path) -> DtypeName:
    """Return the type that the run's engine held the weights in; older runs say auto, and held the checkpoint's."""
    if engine["dtype"] != "auto" or engine["kind"] == "signals":
        return cast(DtypeName, engine["dtype"])
    from thickets.tasks.engines.dtypes import stored_dtype  # PyTorch: seconds

    return stored_dtype(folder)
