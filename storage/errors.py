"""Exceptions whose message is for the user: one line with the field, the value found, and the values allowed."""


class ThicketsError(Exception):
    """Base of every error this project raises on purpose; its message is complete without a traceback."""


class InputError(ThicketsError):
    """Something the user gave (config, data file, model, folder) cannot be used; the command line exits with 2."""


class RunError(ThicketsError):
    """A well-formed run could not be carried out or continued; the command line exits with 1."""


class TransientError(RunError):
    """A server, a disk or a lock failed this time; the same attempt may succeed later."""


class OutOfMemoryError(TransientError):
    """An engine ran out of memory: another process may have used it for a while, or the batches are too large."""
