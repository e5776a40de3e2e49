"""Shards of answers: the Parquet file, and the folder that holds them."""
