"""Finds what a name stands for, and opens the desks that serve it."""

from __future__ import annotations

from pathlib import Path

from thickets.flows.models.materialize import load_merge
from thickets.flows.models.open import NamedModel, find_model, find_student
from thickets.flows.serve.desk import Desk
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.serving.names import Catalogue
from thickets.tasks.serving.opening import Parts, ensemble_parts, merge_of, parts_of, voters_of
from thickets.tasks.serving.questions import Voter


def open_desks(
    home: Home,
    name: str,
    like: str | None = None,
    *,
    student: bool = False,
    device: str = "auto",
    most_waiting: int = 256,
    timeout_s: float = 0.0,
) -> list[Desk]:
    """Find a model and start its engine.

    Args:
        home: Where runs are kept.
        name: As `find_model` takes it.
        like: The run whose recipe a checkpoint uses.
        student: Serve the run's student as well, with an engine of its own: it is no neighbour of the base.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.
        most_waiting: Most questions that wait for their turn.
        timeout_s: How long a client may wait for an answer.

    Raises:
        InputError: There is no such model, it cannot be asked, or its engine cannot be built.
    """
    found = find_model(home, name, like)
    served = [(catalogue_of(home, found, name), parts_for(found, device))]
    if student:
        if found.run_id is None:
            raise InputError(f"--student: is for a run; {name} is a model already")
        names = dict.fromkeys(f"{each}:student" for each in (found.run_id, name))
        root, *aliases = names
        catalogue = Catalogue(root, (Voter(None),), aliases=tuple(aliases))
        served.append((catalogue, parts_for(find_student(home, home.run(found.run_id)), device)))
    return [Desk(catalogue, parts, most_waiting=most_waiting, timeout_s=timeout_s) for catalogue, parts in served]


def parts_for(found: NamedModel, device: str) -> Parts:
    """Return how a model is asked, on this machine."""
    trusted = found.trust_remote_code
    if found.checkpoint is not None:
        own = found.own_template
        return parts_of(found.recipe, found.checkpoint, device=device, trust_remote_code=trusted, own_template=own)
    assert found.manifest is not None  # a model without a checkpoint is made of noise
    return ensemble_parts(found.manifest, device=device, trust_remote_code=trusted)


def catalogue_of(home: Home, found: NamedModel, name: str) -> Catalogue:
    """Return the models that a name serves: of a run all of its own, of a single model that and its base, if known."""
    aliases = () if name == found.title else (name,)
    if found.checkpoint is not None:
        return Catalogue(found.title, (Voter(None),), aliases=aliases)
    assert found.manifest is not None
    merge = None
    if found.run_id is not None and home.run(found.run_id).merge.is_file():
        merge = merge_of(load_merge(home.run(found.run_id)))
    base = found.manifest.base.name
    # Of a folder its name: where it lies on this machine is no client's business.
    base = Path(base).name if Path(base).is_absolute() else base
    has_experts = isinstance(found.manifest, EnsembleManifest)
    return Catalogue(found.title, tuple(voters_of(found.manifest)), has_experts, merge, base, aliases)
