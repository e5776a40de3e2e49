"""Errors in the form that OpenAI's clients read, with the status that tells them whether to try again."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from thickets.storage.errors import InputError, ThicketsError
from thickets.tasks.serving.dispatcher import BusyError
from thickets.tasks.serving.names import UnknownModelError
from thickets.tasks.serving.questions import EngineLostError, UnjudgedError

_RETRY_AFTER_S = 1


class RequestError(InputError):
    """A request that cannot be honoured.

    Attributes:
        param: The field at fault.
        status: Of the answer.
        code: For programs.
    """

    def __init__(self, message: str, *, param: str | None = None, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.param, self.status, self.code = param, status, code


class LateError(Exception):
    """No answer within the time that a client may wait."""


# Status, type, code and field; the first that fits.
_KINDS: dict[type[Exception], tuple[int, str, str | None, str | None]] = {
    UnknownModelError: (404, "invalid_request_error", "model_not_found", "model"),
    InputError: (400, "invalid_request_error", None, None),
    BusyError: (429, "rate_limit_error", "queue_full", None),
    EngineLostError: (503, "server_error", "engine_lost", None),
    UnjudgedError: (500, "server_error", "verifier_failed", None),
    LateError: (504, "server_error", "timeout", None),
}


def response_to(error: Exception) -> JSONResponse:
    """Return the answer for an error."""
    status, kind, code, param = _kind_of(error)
    # What is none of ours is in the server's log, with its traceback.
    message = str(error) if isinstance(error, (ThicketsError, LateError)) else "the server failed at this request"
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status in (429, 503, 504) else {}
    if isinstance(error, UnjudgedError) and not error.may_pass:
        headers["x-should-retry"] = "false"  # OpenAI's: its clients try again at any status from 500 on
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status, headers)


def _kind_of(error: Exception) -> tuple[int, str, str | None, str | None]:
    if isinstance(error, RequestError):
        kind = "authentication_error" if error.status == 401 else "invalid_request_error"
        return error.status, kind, error.code, error.param
    for kind_of_error, found in _KINDS.items():
        if isinstance(error, kind_of_error):
            return found
    return 500, "server_error", None, None
