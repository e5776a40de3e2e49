"""Scoring: units of work, the worker that does one, and the executors that hand them out."""
