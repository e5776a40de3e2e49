"""What every route returns: a page, the rows of a table as a file; and the forms of the values in addresses."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import polars as pl
from fastapi import Query, Request
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, HTMLResponse, Response

from thickets.flows.view.pages import page
from thickets.flows.view.rows import FORMATS, write_rows

PageNumber = Annotated[int, Query(alias="page", ge=1, le=1_000_000)]
Text = Annotated[str, Query(max_length=400)]


def rows_file(rows: pl.DataFrame, name: str, ending: str) -> Response:
    """Return all rows of a page's table as a file of that name, which is deleted once it is sent."""
    path = write_rows(rows, ending)
    return FileResponse(
        path,
        media_type=FORMATS[ending],
        filename=f"{name}.{ending}",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


def html(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page."""
    return tagged(
        request, page(template, **values).encode("utf-8", "replace"), "text/html; charset=utf-8", status=status
    )


def tagged(
    request: Request, body: bytes, media_type: str, headers: dict[str, str] | None = None, status: int = 200
) -> Response:
    """Return a response with the hash of its body, and nothing but that if the browser has it already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    told = {"etag": tag} | (headers or {})
    if status == 200 and request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=told)
    if media_type.startswith("text/html"):
        return HTMLResponse(body, status, told)
    return Response(body, status, told, media_type)
