"""Figures and verdicts as values, and the words for them. Nothing here imports more than pydantic."""
