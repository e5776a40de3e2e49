"""Which tasks of reasoning_gym 0.1.25 are not offered as they are, and why; found by reading and running all 106.

``tests/tasks/problems/test_problem_reasoning_gym.py`` runs every other task and fails when an update of the library
makes a list stale.
"""

from __future__ import annotations

_EVAL = "its verifier calls eval() on the answer"
_SYMPY = "its verifier calls sympy's parse_expr, which is eval(), on the answer"

# Refused unless problem.allow_unsafe_verifier is true.
UNSAFE = {
    "binary_matrix": _EVAL,
    "n_queens": _EVAL,
    "spiral_matrix": _EVAL,
    "string_insertion": _EVAL,
    "intermediate_integration": _SYMPY,
    "simple_integration": _SYMPY,
}

# Their verifiers parse the answer with sympy too, but a right answer is plain arithmetic: anything else is wrong
# before the verifier sees it.
ARITHMETIC = frozenset({"countdown", "puzzle24"})

# Tasks that need a package which is compiled on installation, and is left out for that reason.
NEEDS_PACKAGE = {"zebra_puzzles": "pycosat"}

_NO_GOLD = "it has no gold answers, so nothing proves its verifier"
_HASH_ORDER = (
    "its questions depend on Python's hash seed and differ from process to process, so a run could not be resumed"
)

# Refused always.
UNUSABLE = {
    "boxnet": _NO_GOLD,
    "graph_color": _NO_GOLD,
    "propositional_logic": _NO_GOLD,
    "rubiks_cube": _NO_GOLD,
    "rush_hour": _NO_GOLD,
    "isomorphic_strings": _HASH_ORDER,
    "knight_swap": _HASH_ORDER,
    "list_functions": _HASH_ORDER,
    "polynomial_multiplication": _HASH_ORDER,
    "ransom_note": _HASH_ORDER,
    "word_ladder": _HASH_ORDER,
    "coin_flip": "its verifier gives full marks for the first digit alone (0 for 0.234375)",
    "game_of_life_halting": "its verifier gives full marks for any text",
    "codeio": "it makes its questions by running code that a language model wrote, and differently each time",
    "composite": "it is a mixture of tasks; name one of them",
}
