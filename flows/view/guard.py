"""What every request passes and every response carries: host, password, and headers that let nothing foreign run."""

from __future__ import annotations

import base64
import binascii
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thickets.flows.services.settings import Credentials
from thickets.flows.view.address import Address

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# An SVG picture has its styles in itself; it is shown as an image, where no script runs, and may load nothing.
PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
# A report has its style in itself, and no script; whoever imports a run imports its report too.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "sandbox allow-top-navigation-by-user-activation"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


class Guard:
    """Refuses requests that are not ours; adds the headers to every response that has not its own."""

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._app, self._address = app, address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        if method != "GET":
            return PlainTextResponse("these pages change nothing: GET only\n", 405, {"allow": "GET"})
        if not self._address.is_ours(_host(headers.get("host", ""))):
            return PlainTextResponse(f"not served under this name; open {self._address.url}\n", 421)
        if not _knows(self._address.credentials, headers.get("authorization", "")):
            return PlainTextResponse(
                "user name and password, please\n", 401, {"www-authenticate": 'Basic realm="thickets", charset="UTF-8"'}
            )
        return None


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _knows(credentials: Credentials | None, header: str) -> bool:
    if credentials is None:
        return True
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        pair = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return False
    return secrets.compare_digest(pair, credentials.pair.encode())
