"""Rivals of a search: other ways to make one better model of the same base, on the same questions and budget."""
