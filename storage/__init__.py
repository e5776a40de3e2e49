"""What lasts: shards, DuckDB, base models, MLflow tracking."""
