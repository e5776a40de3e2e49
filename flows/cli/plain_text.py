"""Text of any origin as a terminal may be given it."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """Write out what would move the cursor, change colours or turn the direction of a terminal's text."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
        else escaped(character)
        for character in text
    )


def escaped(character: str) -> str:
    """Write a character as in a Python text."""
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
