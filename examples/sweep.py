"""A sweep over sigma: one search per sigma as a child run of this flow, each on whichever worker is free.

With the services up (`thickets up --detach`), `python -m examples.sweep 0.003 0.005 0.008` shows one parent with its
children in the UI, and the results side by side at the end. `--set population.size=24` and the like change the
quickstart that each of them runs.
"""

from __future__ import annotations

import argparse
import sys

from thickets.flows.config.run import StorageConfig
from thickets.flows.services.connect import connect_services


def main() -> None:
    """Read the command line, find the services, and sweep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sigmas", type=float, nargs="*", default=[0.003, 0.005, 0.008])
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    if not connect_services(StorageConfig().home, print):  # before Prefect is imported
        sys.exit("no services are up; start them with `thickets up --detach`")
    for row in sweep(options.sigmas, options.changes):
        print(", ".join(f"{name} {value}" for name, value in row.items()))


def sweep(sigmas: list[float], changes: list[str]) -> list[dict[str, str]]:
    """Search once per sigma, all under one parent flow run.

    Args:
        sigmas: One search each.
        changes: Settings of the quickstart to change, as on the command line.

    Returns:
        A row per sigma, which is also an artifact of the parent.
    """
    from prefect import flow
    from prefect.artifacts import create_table_artifact

    from thickets import load_config
    from thickets.flows.deployments.client import follow, start

    @flow(name="sweep", flow_run_name="sweep-over-{sigmas}")
    def search_each(sigmas: list[float], changes: list[str]) -> list[dict[str, str]]:
        named = {sigma: [*changes, f"population.sigmas=[{sigma}]", f"name=sweep-{sigma:g}"] for sigma in sigmas}
        runs = {sigma: start(load_config("quickstart", named[sigma])) for sigma in sigmas}  # all wait for a worker
        rows = []
        for sigma, run in runs.items():
            found = follow(run).evaluation
            votes = {"sigma": f"{sigma:g}", "K": str(found.k), "ensemble": f"{100 * found.ensemble.value:.1f} %"}
            rows.append(votes | {"base": f"{100 * found.base.value:.1f} %"})
        create_table_artifact(rows, key="sweep", description="The ensembles, by sigma")
        return rows

    return search_each(sigmas, changes)


if __name__ == "__main__":
    main()
