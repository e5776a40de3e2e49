"""Scores as one DuckDB file per run: filling it, reading it, and SQL over it."""
