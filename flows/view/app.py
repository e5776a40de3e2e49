"""The routes of `thickets view`: each makes one page from one file's data; nothing here changes anything."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from thickets.flows.view.address import Address
from thickets.flows.view.candidate_routes import candidate_routes
from thickets.flows.view.compare_page import compare_page, compare_rows
from thickets.flows.view.example_routes import example_routes
from thickets.flows.view.guard import Guard
from thickets.flows.view.judged import Rules
from thickets.flows.view.opened import Runs
from thickets.flows.view.pages import static
from thickets.flows.view.responses import PageNumber, Text, html, rows_file, tagged
from thickets.flows.view.rows import check_ending
from thickets.flows.view.run_routes import run_routes
from thickets.flows.view.runs_page import RunLines
from thickets.storage.errors import ThicketsError
from thickets.storage.home import Home

_STATIC = {
    "common.css": "text/css; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
}


Names = Annotated[list[str] | None, Query(max_length=8)]


def make_app(home: Home, address: Address, first: str | None = None) -> FastAPI:
    """Return the application.

    Args:
        home: The home whose runs are shown.
        address: Where it will be served.
        first: Id of the run that ``/`` leads to; None: the table of all runs.
    """
    app = FastAPI(title="Thickets", docs_url=None, redoc_url=None, openapi_url=None)
    runs, lines, rules = Runs(home), RunLines(home), Rules()
    app.state.runs = runs  # for whoever serves them to close
    app.include_router(run_routes(runs, rules))
    app.include_router(candidate_routes(runs))
    app.include_router(example_routes(runs, rules))

    @app.get("/")
    def root() -> Response:
        return RedirectResponse("/runs" if first is None else f"/runs/{first}")

    @app.get("/static/{name}")
    def files(request: Request, name: str) -> Response:
        if name not in _STATIC:
            raise HTTPException(404)
        return tagged(request, static(name), _STATIC[name])

    @app.get("/runs")
    def all_runs(
        request: Request, q: Text = "", state: Text = "", sort: Text = "date", page_: PageNumber = 1
    ) -> Response:
        found = lines.page(q, state, sort, page_)
        return html(request, "runs", at="runs", run=None, found=found, home=str(home.root))

    @app.get("/runs.{ending}")
    def run_rows(ending: str, q: Text = "", state: Text = "", sort: Text = "date") -> Response:
        return rows_file(lines.rows(q, state, sort), "runs", ending)

    @app.get("/compare")
    def compared(request: Request, run: Names = None, show: Text = "all", page_: PageNumber = 1) -> Response:
        return html(request, "compare", at="runs", run=None, found=compare_page(runs, run or [], show, page_))

    @app.get("/compare/{table}.{ending}")
    def compared_rows(table: str, ending: str, run: Names = None, show: Text = "all") -> Response:
        return rows_file(compare_rows(runs, run or [], table, show), f"comparison-{table}", check_ending(ending))

    @app.exception_handler(ThicketsError)
    def refused(request: Request, error: ThicketsError) -> Response:
        return html(request, "error", 404, at="", run=None, message=str(error))

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        first_one = error.errors()[0]
        message = f"{first_one['loc'][-1]}: {first_one['msg']}"
        return html(request, "error", 400, at="", run=None, message=message)

    @app.exception_handler(HTTPException)
    def absent(request: Request, error: HTTPException) -> Response:
        return html(request, "error", error.status_code, at="", run=None, message=str(error.detail))

    app.add_middleware(Guard, address=address)
    return app
