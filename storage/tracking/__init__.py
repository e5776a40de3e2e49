"""MLflow: the tracking store, runs, and logged models."""
