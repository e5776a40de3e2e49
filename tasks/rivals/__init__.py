"""Rivals of a search: what their rounds draw and take, without the flow around them."""
