"""Our flows on a Prefect server: their deployments, the work pool they wait in, and a client for them."""

POOL = "thickets"
"""The work pool of every deployment."""
