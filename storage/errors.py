"""Exceptions whose message is for the user: one line with the field, the value found, and the values allowed."""


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


class TransientError(RunError):
    """A server, a disk or a lock failed this time; the same attempt may succeed later."""


class OutOfMemoryError(TransientError):
    """An engine ran out of memory: another process may have used it for a while, or the batches are too large."""
