"""What a run leaves in MLflow and in Prefect."""
