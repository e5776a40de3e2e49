"""Molecules in replies: finds them in a text, and brings them to one form."""
