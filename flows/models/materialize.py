"""Writes a candidate of a run, the average of its experts, or its merge, as a checkpoint folder."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from thickets.flows.config.file import load_config
from thickets.flows.config.run import RunConfig
from thickets.flows.results.runs import open_scores
from thickets.storage.errors import InputError
from thickets.storage.files import check_vacant, new_folder
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.base import BaseModelRef, hub_commit
from thickets.storage.models.manifest import EnsembleManifest, MergeManifest, MergeMember
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.export.card import AverageFacts, ExpertFacts, Member, MergeFacts, SelectionScore
from thickets.tasks.noise import NOISE_VERSION, Perturbation
from thickets.tasks.noise.spec import check_sigma, seed_key
from thickets.tasks.serving import merge_of
from thickets.tasks.types import FULL, Average, Candidate, Weights

Whole = Literal["average", "merge"]
"""One model made of many candidates."""


def pick_whole(*, average: bool, merge: bool) -> Whole | None:
    """Read the options that ask for one model of many.

    Raises:
        InputError: Both are there.
    """
    if average and merge:
        raise InputError("--average: and --merge exclude each other; write one model at a time")
    return "average" if average else "merge" if merge else None


def pick_candidate(
    rank: int | None, seed: int | None, sigma: float | None, whole: Whole | None = None
) -> int | Candidate | Whole:
    """Read the options: a rank, a candidate by seed and sigma, or one model of many; without any the best expert.

    Raises:
        InputError: They contradict each other, or one is missing or out of range.
    """
    if whole is not None:
        for option, value in {"--rank": rank, "--seed": seed, "--sigma": sigma}.items():
            if value is not None:
                raise InputError(f"--{whole}: found together with {option} {value}; it is made of many, remove one")
        return whole
    if seed is None and sigma is None:
        return 1 if rank is None else rank
    if rank is not None:
        raise InputError(f"--rank: {rank} and --seed/--sigma name a candidate twice; give one of the two")
    if seed is None or sigma is None:
        missing = "--seed" if seed is None else "--sigma"
        raise InputError(f"{missing}: missing; a candidate is --seed and --sigma together")
    seed_key(seed)
    check_sigma(sigma)
    return Candidate(seed, sigma)


def materialize(
    home: Home, folder: RunFolder, which: int | Candidate | Whole, target: Path
) -> ExpertFacts | AverageFacts | MergeFacts:
    """Write a candidate of a finished run, or one model made of many, as an ordinary checkpoint folder.

    Args:
        home: Where the run is kept.
        folder: The run.
        which: A rank on the selection split (1 is the best), or any candidate; the average of the K experts; or the
            run's merge.
        target: Absent or empty; it appears whole or not at all.

    Returns:
        What is in the folder, also kept there as thickets.json and README.md.

    Raises:
        InputError: The run is not finished or of another noise version, it has no such rank or no merge, its base model
            is not what it was, or `target` is taken.
    """
    check_vacant(target, "DIR")
    if not folder.manifest.is_file():
        raise InputError(f"RUN: {folder.run_id} is not finished; run its config again to go on: {folder.config}")
    ensemble = EnsembleManifest.load(folder.manifest)
    if ensemble.noise.version != NOISE_VERSION:
        raise InputError(
            f"RUN: {folder.run_id} has noise version {ensemble.noise.version}; this version of thickets makes noise "
            f"version {NOISE_VERSION}"
        )
    config = load_config(str(folder.config))
    score: SelectionScore | None = None
    weights: Weights
    label = ""
    if which == "average":
        weights = Average(tuple(Candidate(expert.seed, expert.sigma) for expert in ensemble.experts))
    elif which == "merge":
        found = load_merge(folder)
        weights, label = merge_of(found), found.label
    else:
        assert not isinstance(which, str)
        weights, score = _look_up(home, folder, which)
    base = _find_base(config, ensemble, folder.run_id)
    if not kind_of(base.path).is_language_model:
        raise InputError(
            f"RUN: {folder.run_id} is about the signals network {config.model}, which nothing but the signals engine "
            "loads; language models can be materialized"
        )

    from thickets.tasks.export.checkpoint import write_checkpoint  # PyTorch: seconds, for nothing if the input is wrong

    with new_folder(target, "DIR") as scratch:
        written = write_checkpoint(
            base.path,
            scratch,
            weights,
            Perturbation.of(ensemble.noise),
            dtype=ensemble.engine["dtype"],  # as the engine held it; auto, in older runs, is the checkpoint's
            trust_remote_code=config.engine.trust_remote_code,
        )
        common: dict[str, Any] = {
            "base": ensemble.base,
            "noise": ensemble.noise,
            "dtype": written.dtype,
            "n_perturbed": written.n_perturbed,
            "run_id": folder.run_id,
            "fingerprint": ensemble.fingerprint,
            "problem": config.single_problem.title,
            "thickets_version": version("thickets"),
        }
        facts: ExpertFacts | AverageFacts | MergeFacts
        if isinstance(weights, Candidate):
            facts = ExpertFacts(**common, seed=weights.seed, sigma=weights.sigma, selection=score)
        elif isinstance(weights, Average):
            members = tuple(Member(seed=member.seed, sigma=member.sigma) for member in weights.members)
            facts = AverageFacts(**common, members=members)
        else:
            parts = zip(weights.members, weights.coefficients, strict=True)
            facts = MergeFacts(
                **common,
                label=label,
                members=tuple(MergeMember(seed=each.seed, sigma=each.sigma, coefficient=c) for each, c in parts),
            )
        facts.save(scratch)
    return facts


def load_merge(folder: RunFolder) -> MergeManifest:
    """Load the merge of a run.

    Raises:
        InputError: It has none.
    """
    if not folder.merge.is_file():
        raise InputError(
            f"--merge: {folder.run_id} has none; its configuration has no merge section, or no merge passed "
            "merge.gate on the validation split (`thickets show RUN --all` says which)"
        )
    return MergeManifest.load(folder.merge)


def _look_up(home: Home, folder: RunFolder, which: int | Candidate) -> tuple[Candidate, SelectionScore | None]:
    """Find a candidate and its rank among all that the run scored, not among the K of the ensemble alone."""
    with open_scores(home, folder) as reader:
        board = reader.leaderboard("selection")
        n_candidates = reader.common_scores("selection").height  # with racing, more than are ranked
    if isinstance(which, Candidate):
        rows = board.filter(board["candidate_id"] == which.id)
        if rows.is_empty():
            return which, None
    elif 1 <= which <= board.height:
        rows = board.filter(board["rank"] == which)
    else:
        raise InputError(
            f"--rank: found {which}; the candidates of {folder.run_id} have ranks 1 to {board.height}"
            + (" (racing dropped the others)" if board.height < n_candidates else "")
        )
    row = rows.row(0, named=True)
    score = SelectionScore(
        rank=row["rank"],
        n_candidates=n_candidates,
        n_correct=row["n_correct"],
        n=row["n"],
        points=None if row["points"] == FULL * row["n_correct"] else row["points"],
    )
    return Candidate(row["seed"], row["sigma"]), score


def _find_base(config: RunConfig, ensemble: EnsembleManifest, run_id: str) -> BaseModelRef:
    # A branch of a hub repository may have moved on; the commit the run used has not.
    revision = hub_commit(ensemble.base.revision) or config.revision
    base = find_base_model(config.model, revision, trust_remote_code=config.engine.trust_remote_code)
    if base.sha256 != ensemble.base.sha256:
        raise InputError(
            f"model: the weights of {config.model} have SHA-256 {base.sha256}, but those that {run_id} searched around "
            f"had {ensemble.base.sha256}; noise on other weights is another model"
        )
    return base
