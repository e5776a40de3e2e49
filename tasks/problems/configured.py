"""The verifier that a config names."""

from __future__ import annotations

from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.verifiers import CHOICE, EXACT, MATH, NUMERIC, Verifier, function_verifier, regex_verifier


def make_verifier(config: ProblemConfig) -> Verifier:
    """Return the verifier that a config names.

    Raises:
        InputError: The user's own function cannot be imported.
    """
    match config.verifier:
        case None | "exact":
            return EXACT
        case "numeric":
            return NUMERIC
        case "math":
            return MATH
        case "choice":
            return CHOICE
        case "regex":
            assert config.pattern is not None  # ProblemConfig requires it
            return regex_verifier(config.pattern)
        case function:
            return function_verifier(function, config.right_at)
