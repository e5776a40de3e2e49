"""What a Prefect server is told of our flows: deployments, the work pool they wait in, and a client for them."""

POOL = "thickets"
"""The work pool of every deployment."""
