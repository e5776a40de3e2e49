"""The results of runs: summaries, rows, sentences and comparisons. Nothing here imports Prefect."""
