"""Verifiers: each finds an answer in a text, brings it to one form and scores it; one per file."""

from __future__ import annotations

from thickets.tasks.verifiers.choice import CHOICE
from thickets.tasks.verifiers.exact import EXACT
from thickets.tasks.verifiers.function import function_verifier
from thickets.tasks.verifiers.math import MATH
from thickets.tasks.verifiers.molecule import MOLECULE
from thickets.tasks.verifiers.numeric import NUMERIC
from thickets.tasks.verifiers.regex import regex_verifier
from thickets.tasks.verifiers.verifier import Verifier

__all__ = ["CHOICE", "EXACT", "MATH", "MOLECULE", "NUMERIC", "Verifier", "function_verifier", "regex_verifier"]
