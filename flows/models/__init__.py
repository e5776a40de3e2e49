"""A run's models in MLflow: logged with their lineage, registered, opened again, asked and judged."""
