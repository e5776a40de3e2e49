"""Base models, their weights and hashes, and the manifests that name experts."""
