"""The kinds of answers that a project can be about."""

from __future__ import annotations

KINDS = {
    "numeric": "Sums in words; an answer is a number.",
    "math": "School mathematics; an answer is a number, a fraction or an expression.",
    "choice": "Multiple choice; an answer is a letter.",
    "code": "Small Python functions; an answer is a program that passes its tests.",
    "text": "Stories that go on; an answer is a text, scored by how much it is like the row's own.",
    "classification": "Messages to a shop; an answer is one of a few labels.",
    "function": "Dates to be rewritten; an answer is what a function of one's own makes of it.",
}
"""Each kind by name, with what its sample is about. `templates` has a folder for each."""
