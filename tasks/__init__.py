"""The method, stage by stage: pure functions, each with its thin Prefect task beside it."""
