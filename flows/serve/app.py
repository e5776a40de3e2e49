"""The web application: models, chat completions, completions and health."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from thickets.flows.serve.desk import Desk
from thickets.flows.serve.errors import LateError, RequestError, response_to
from thickets.flows.serve.requests import ChatRequest, TextRequest, read_chat, read_text
from thickets.flows.serve.responses import Form, Reply, model_list, model_row
from thickets.flows.serve.settings import ServeSettings
from thickets.storage.errors import ThicketsError
from thickets.tasks.serving.names import Served, UnknownModelError
from thickets.tasks.serving.questions import Outcome, Question

_LARGEST_BODY = 8 << 20
_LOOK_EVERY_S = 0.25  # whether a client has gone away


def make_app(desks: Sequence[Desk], settings: ServeSettings) -> FastAPI:
    """Make the application.

    Args:
        desks: Whose models are served; the first that knows a name answers.
        settings: Key, times and prompts.
    """
    app = FastAPI(title="thickets", docs_url=None, redoc_url=None, openapi_url=None)
    created = int(time.time())
    guarded = [Depends(_guard(settings))]

    def find(name: str) -> tuple[Desk, Served]:
        errors = []
        for desk in desks:
            try:
                return desk, desk.catalogue.find(name)
            except UnknownModelError as error:
                errors.append(error)
        raise errors[0]

    @app.get("/health", dependencies=[Depends(_host_guard(settings))])
    async def health() -> Response:
        states = [desk.dispatcher.state for desk in desks]
        is_ready = all(state == "ready" for state in states)
        counts = [desk.dispatcher.counts for desk in desks]
        body = {
            "status": "ready" if is_ready else "starting",
            "waiting": sum(desk.dispatcher.n_waiting for desk in desks),
            **{name: sum(getattr(each, name) for each in counts) for name in counts[0].__slots__},
        }
        return JSONResponse(body, 200 if is_ready else 503)

    @app.get("/v1/models", dependencies=guarded)
    async def models() -> dict[str, Any]:
        return model_list([name for desk in desks for name in desk.catalogue.names()], created)

    @app.get("/v1/models/{name:path}", dependencies=guarded)
    async def model(name: str) -> dict[str, Any]:
        return model_row(find(name)[1].name, created)

    @app.post("/v1/chat/completions", dependencies=guarded)
    async def chat(request: Request) -> Response:
        asked = read_chat(await _body(request))
        desk, served = find(asked.model)
        questions, n_tokens = await asyncio.to_thread(desk.chat, served, asked, wraps=settings.wraps)
        return await answer(request, desk, "chat", asked, served, questions, n_tokens)

    @app.post("/v1/completions", dependencies=guarded)
    async def text(request: Request) -> Response:
        asked = read_text(await _body(request))
        desk, served = find(asked.model)
        questions, n_tokens = await asyncio.to_thread(desk.text, served, asked)
        return await answer(request, desk, "text", asked, served, questions, n_tokens)

    async def answer(
        request: Request,
        desk: Desk,
        form: Form,
        asked: ChatRequest | TextRequest,
        served: Served,
        questions: list[Question],
        n_tokens: int,
    ) -> Response:
        outcomes = await _ask(request, desk, questions, settings.timeout_s)
        if outcomes is None:
            return Response(status_code=499)  # nobody reads it
        reply = Reply(form, served, outcomes, n_tokens)
        if not asked.stream:
            return JSONResponse(reply.whole())
        events = reply.events(includes_usage=asked.includes_usage)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    @app.exception_handler(ThicketsError)
    @app.exception_handler(LateError)
    async def refused(request: Request, error: Exception) -> Response:
        return response_to(error)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return response_to(error)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        what = f"{request.method} {request.url.path}: {error.detail}"
        return response_to(RequestError(what, status=error.status_code))

    return app


async def _ask(request: Request, desk: Desk, questions: list[Question], timeout_s: float) -> list[Outcome] | None:
    """Wait for the answers; None if the client went away meanwhile.

    Raises:
        ThicketsError: One of the questions is refused, or has no answer.
        LateError: It took too long.
    """
    tickets = desk.dispatcher.submit(*questions)
    futures = [asyncio.wrap_future(ticket.future) for ticket in tickets]
    end = time.monotonic() + timeout_s
    try:
        while True:
            done, waiting = await asyncio.wait(futures, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_EXCEPTION)
            for each in done:
                each.result()
            if not waiting:
                return [future.result() for future in futures]
            if await request.is_disconnected():
                return None
            if time.monotonic() > end:
                raise LateError(f"no answer within {timeout_s:g} s; try again when less is asked")
    finally:
        for ticket in tickets:
            ticket.leave()
        for future in futures:  # an error of a second prompt is nobody's: the first was reported
            if future.done() and not future.cancelled():
                future.exception()


async def _body(request: Request) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which a page of another origin cannot send without asking first
        raise RequestError(f"Content-Type: found {kind!r}; only application/json is read", status=415)
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > _LARGEST_BODY:
            raise RequestError(f"the request is larger than {_LARGEST_BODY >> 20} MiB", status=413)
    try:
        body = json.loads(found, parse_constant=_refuse)
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # "\ud800", which JSON can write and neither tokenizers nor an answer can
        raise RequestError("the request holds half of a surrogate pair, which is no character") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the request is not JSON: {error}") from None
    return body


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"found {constant}, which is no number of JSON")


def _host_guard(settings: ServeSettings) -> Callable[[Request], None]:
    """Refuse requests by way of another name: a page of the web could have it lead to loopback (DNS rebinding)."""

    def check(request: Request) -> None:
        host = request.url.hostname or ""
        if settings.is_loopback and settings.key is None and not _is_this_machine(host):
            raise RequestError(f"Host: found {host!r}; this server answers as localhost alone", status=403)

    return check


def _guard(settings: ServeSettings) -> Callable[[Request], None]:
    """Refuse requests without the key."""
    check_host = _host_guard(settings)

    def check(request: Request) -> None:
        check_host(request)
        if settings.key is None:
            return
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(sent.strip().encode("utf-8", "surrogateescape"), settings.key.encode())
        if scheme.lower() != "bearer" or not is_right:
            raise RequestError(
                "the API key is missing or wrong; send it as Authorization: Bearer KEY",
                status=401,
                code="invalid_api_key",
            )

    return check


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
