"""Deletes a run with the shards and verdicts that no other run of its home uses."""

from __future__ import annotations

from pathlib import Path

from thickets.flows.housekeeping.removal import Item, Removal, is_flow_in_progress, item
from thickets.storage.errors import RunError
from thickets.storage.home import Home, RunFolder
from thickets.storage.shards.uses import Uses, merged, runs_of, uses_of


def delete(home: Home, folder: RunFolder) -> Removal:
    """Delete a run, as `plan_deletion` says; what it has left in MLflow and Prefect stays there.

    Shards go before the folder that names them: whatever a kill leaves, the same call takes up.

    Raises:
        RunError: The run is in progress.
        InputError: It cannot be told what this or another run of the home uses.
    """
    with home.run_lock(folder.run_id):
        removal = _plan(home, folder)
        removal.carry_out()
    return removal


def plan_deletion(home: Home, folder: RunFolder) -> Removal:
    """Say what the deletion of a run removes; nothing is removed.

    Raises:
        RunError: The run is in progress.
        InputError: It cannot be told what this or another run of the home uses.
    """
    if home.is_locked(folder.run_id):
        raise RunError(f"run {folder.run_id} is in progress; end it first")
    return _plan(home, folder)


def _plan(home: Home, folder: RunFolder) -> Removal:
    mine = uses_of(home, folder)
    used_by = {each.run_id: uses_of(home, each) for each in runs_of(home) if each.run_id != folder.run_id}
    theirs = merged(used_by.values())
    items: list[Item] = []
    stays: list[str] = []
    for name in mine:
        path = home.shards(name)
        if not path.is_dir():
            continue
        sharers = [run_id for run_id, uses in used_by.items() if name in uses]
        if sharers:
            stays.append(f"{path}: used by {', '.join(sharers)} too")
            items += [item(each, "its verdicts") for each in _verdicts_of_this_run(path, mine, theirs)]
        elif is_flow_in_progress(home):
            stays.append(f"{path}: a flow is in progress that may use it; `thickets clean` removes it afterwards")
        else:
            items.append(item(path, "its completions and verdicts"))
    if folder.shards.is_file():
        elsewhere = folder.shards.read_text(encoding="utf-8").strip()
        stays.append(f"{elsewhere}: shards outside of this home, which other homes may use")
    stays.append(f"MLflow's runs with the tag thickets.run_id = {folder.run_id}, with what they logged")
    return Removal((*items, item(folder.root, "the run's folder")), tuple(stays))


def _verdicts_of_this_run(shards: Path, mine: Uses, theirs: Uses) -> list[Path]:
    """Return the folders of verdicts that this run uses and no other."""
    ours, others = mine[shards.name], theirs[shards.name]
    if ours is None or others is None:
        return []
    return [path for path in (shards / name for name in sorted(ours - others)) if path.is_dir()]
