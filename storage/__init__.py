"""What lasts: score shards and DuckDB, base models, MLflow tracking."""
