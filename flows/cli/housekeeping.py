"""Commands that delete, clean up, name and send runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thickets.flows.cli.options import HomeFolder, RunName, home_of, say

if TYPE_CHECKING:
    from thickets.flows.housekeeping.removal import Removal

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")]


def delete(name: RunName, dry_run: DryRun = False, home: HomeFolder = None) -> None:
    """Delete a run, with the shards and verdicts that no other run of its home uses; what MLflow has of it stays."""
    from thickets.flows.housekeeping import delete as deletion
    from thickets.flows.results.runs import find_run

    where = home_of(home)
    folder = find_run(where, name)
    _tell(deletion.plan_deletion(where, folder) if dry_run else deletion.delete(where, folder), dry_run)


def clean(dry_run: DryRun = False, home: HomeFolder = None) -> None:
    """Remove what no run of a home needs: temporaries, `replaced`, broken shards, and those that no run uses."""
    from thickets.flows.housekeeping.clean import plan_cleaning

    removal = plan_cleaning(home_of(home))
    if not dry_run:
        removal.carry_out()
    _tell(removal, dry_run)


def rename(
    name: RunName,
    new: Annotated[str, typer.Argument(metavar="NAME", help="What to call it; its id, to call it by that again.")],
    home: HomeFolder = None,
) -> None:
    """Give a run a name that every command takes in place of its id, which stays."""
    from thickets.flows.results.names import rename as rename_run
    from thickets.flows.results.runs import find_run

    where = home_of(home)
    folder = find_run(where, name)
    rename_run(where, folder, new)
    say(f"{folder.run_id} is called {new}")


def export(
    name: RunName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; its name ends in .tar.zst.")],
    home: HomeFolder = None,
) -> None:
    """Pack a run into one file, from which `thickets import` makes it again on another machine."""
    from thickets.flows.housekeeping.exporting import export_run
    from thickets.flows.results.runs import find_run

    where = home_of(home)
    contents = export_run(where, find_run(where, name), file)
    typer.echo(str(file))
    n_bytes = file.stat().st_size
    say(f"{contents.run_id}: {len(contents.files)} files, {_megabytes(contents.n_bytes)}, packed {_megabytes(n_bytes)}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An exported run.")],
    home: HomeFolder = None,
) -> None:
    """Unpack an exported run into a home; every file is checked first, and a run that is there is refused."""
    from thickets.flows.housekeeping.importing import import_run, places_to_name

    folder = import_run(home_of(home), file)
    typer.echo(folder.run_id)
    missing = "".join(f" --set {place.partition('=')[0]}=..." for place in places_to_name(folder))
    say(f"it is in {folder.root}; go on from it with `thickets run {folder.config}{missing}`")
    for place in places_to_name(folder):
        say(f"not on this machine: {place}")


def _tell(removal: Removal, dry_run: bool) -> None:
    """Print what goes, a line each, on standard output; the sum and what stays on standard error."""
    for item in removal.items:
        typer.echo(f"{_megabytes(item.n_bytes):>10}  {item.path}  ({item.why})")
    for line in removal.stays:
        say(f"stays: {line}")
    verb = "would go" if dry_run else "are gone"
    say(f"{removal.n_bytes:,} bytes {verb}" if removal.items else "there is nothing to remove")


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.2f} MB"
