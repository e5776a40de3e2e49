"""What runs have found: summaries, rows, sentences and comparisons. Nothing here imports Prefect."""
