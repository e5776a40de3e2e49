"""A sweep over sigma: one search per sigma as a child run of this flow, each on whichever worker is free.

With the services up (`thickets up --detach`), `python examples/sweep.py` shows one parent with its children in the UI,
and the results side by side at the end.
"""

from __future__ import annotations

import sys

from flows.services.connect import connect_services
from storage.layout import Home


def main(sigmas: list[float]) -> None:
    """Sweep over the sigmas."""
    from prefect import flow
    from prefect.artifacts import create_table_artifact
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment

    from flows.config_file import load_config
    from flows.deployments.client import result

    @flow(name="sweep", flow_run_name="sweep-over-{n}-sigmas")
    def sweep(sigmas: list[float], n: int) -> list[dict[str, str]]:
        rows = []
        for sigma in sigmas:
            named = [f"population.sigmas=[{sigma}]", f"name=sweep-{sigma:g}"]
            config = load_config("quickstart", named).model_dump(mode="json", exclude_unset=True)
            run = run_deployment("randopt/search", parameters={"config": config}, flow_run_name=f"sigma-{sigma:g}")
            with get_client(sync_client=True) as client:
                found = result(client, client.read_flow_run(run.id)).evaluation
            rows.append({"sigma": f"{sigma:g}", "ensemble": f"{found.ensemble.value:.1%}", "K": str(found.k)})
        create_table_artifact(rows, key="sweep", description="The ensembles, by sigma")
        return rows

    for row in sweep(sigmas, len(sigmas)):
        print(", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    from flows.config import StorageConfig

    if not connect_services(Home(StorageConfig().home).root, print):
        sys.exit("no services are up; start them with `thickets up --detach`")
    main([float(each) for each in sys.argv[1:]] or [0.003, 0.005, 0.008])
