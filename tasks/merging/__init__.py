"""Merging: one model made of a population's noise, weighted by scores, instead of a vote of several models."""
