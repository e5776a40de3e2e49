"""A run's models in MLflow: log, register, open, evaluate and materialize them."""
