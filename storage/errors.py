"""Exceptions whose message is for the user: one line with the field, the value found, and the values allowed."""

from __future__ import annotations

import re

# What would break a line in two, or tell a terminal something, wherever a name or a value from outside holds it.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_HEAD, _TAIL = 1_400, 400  # characters of a line that are shown


class ThicketsError(Exception):
    """Base of every error this project raises on purpose; its message is complete without a traceback.

    Example:
        >>> from thickets import InputError, RunError, ThicketsError
        >>> issubclass(InputError, ThicketsError) and issubclass(RunError, ThicketsError)
        True
    """


class InputError(ThicketsError):
    """Something the user gave (config, data file, model, folder) cannot be used; the command line exits with 2.

    Example:
        >>> from thickets import InputError, load_config
        >>> try:
        ...     load_config("quickstart", ["population.size=none"])
        ... except InputError as error:
        ...     print(error)
        population.size: found 'none'; ...
    """

    def __init__(self, *lines: str) -> None:
        """Take a line per problem; what cannot be printed in a line is escaped, and what nobody reads is cut out."""
        super().__init__(*lines)

    def __str__(self) -> str:
        """Return the lines."""
        return "\n".join(map(_one_line, self.args))


class RunError(ThicketsError):
    """A well-formed run could not be carried out or continued; the command line exits with 1.

    Example:
        >>> from thickets import RunConfig, RunError, search
        >>> data = {"selection": 12, "validation": 10, "test": 14}
        >>> scoring = {"budget": {"tokens": 1}}
        >>> settings = {"model": "tiny", "problem": "largest_number", "data": data, "scoring": scoring}
        >>> try:
        ...     search(RunConfig(population={"size": 6}, **settings))
        ... except RunError as error:
        ...     print(error)
        scoring.budget: 1 tokens do not pay for the smallest run, ...
    """


class SelfTestError(RunError):
    """An engine does not hold what was loaded into it, so its answers would be another model's."""


class TransientError(RunError):
    """A server, a disk or a lock failed this time; the same attempt may succeed later."""


class OutOfMemoryError(TransientError):
    """An engine ran out of memory: another process may have used it for a while, or the batches are too large."""


def _one_line(text: str) -> str:
    text = str(text)
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]} ... {text[-_TAIL:]}"
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
