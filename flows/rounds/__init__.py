"""Rounds: a search around the model that the search before has made, until validation says stop."""
