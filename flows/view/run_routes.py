"""The pages of one run: its result and progress, its plots, its report, and what changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from thickets.flows.view.changed_page import changed_page, changed_rows
from thickets.flows.view.guard import PICTURE_POLICY, REPORT_POLICY
from thickets.flows.view.judged import Rules
from thickets.flows.view.opened import Runs
from thickets.flows.view.pages import picture
from thickets.flows.view.responses import PageNumber, html, rows_file, tagged
from thickets.flows.view.rows import check_ending
from thickets.flows.view.run_page import draw, progress_of, results_rows, run_page
from thickets.flows.view.so_far import nothing_yet
from thickets.storage.errors import InputError

_MOST_PICTURES = 64


def run_routes(runs: Runs, rules: Rules) -> APIRouter:
    """Return the routes."""
    routes, home, pictures = APIRouter(), runs.home, _Pictures()

    @routes.get("/runs/{name}")
    def one_run(request: Request, name: str) -> Response:
        folder = runs.find(name)
        runs.prepare(folder)
        return html(
            request, "run", at="run", run=folder.run_id, found=run_page(home, folder), now=progress_of(home, folder)
        )

    @routes.get("/runs/{name}/report.html")
    def report(request: Request, name: str) -> Response:
        path = runs.find(name).report
        if not path.is_file():
            raise HTTPException(404, "this run has no report yet")
        return tagged(
            request, path.read_bytes(), "text/html; charset=utf-8", {"content-security-policy": REPORT_POLICY}
        )

    @routes.get("/runs/{name}/results.{ending}")
    def results(name: str, ending: str) -> Response:
        folder = runs.find(name)
        return rows_file(results_rows(folder), f"{folder.run_id}-results", ending)

    @routes.get("/runs/{name}/progress")
    def progress(request: Request, name: str) -> Response:
        folder = runs.find(name)
        return html(request, "progress", run=folder.run_id, now=progress_of(home, folder))

    @routes.get("/runs/{name}/plots/{plot}.svg")
    def plotted(request: Request, name: str, plot: str) -> Response:
        folder = runs.find(name)
        try:
            with runs.open(folder) as opened:
                known = (folder.run_id, plot, opened.version)
                svg = pictures.get(known, lambda: draw(opened, lambda: rules.of(folder), plot))
        except InputError:
            if not home.is_locked(folder.run_id):
                raise
            svg = nothing_yet()  # it is being prepared, and the page asks again
        if svg is None:
            raise HTTPException(404, "there is no such plot of this run yet")
        drawn = picture(svg).encode()
        return tagged(request, drawn, "image/svg+xml", {"content-security-policy": PICTURE_POLICY})

    @routes.get("/runs/{name}/changed/{table}.{ending}")
    def changed_table(name: str, table: str, ending: str) -> Response:
        folder = runs.find(name)
        check_ending(ending)
        with runs.open(folder) as opened:
            rows = changed_rows(opened, table)
        return rows_file(rows, f"{folder.run_id}-{table}", ending)

    @routes.get("/runs/{name}/changed")
    def changed(request: Request, name: str, page_: PageNumber = 1) -> Response:
        folder = runs.find(name)
        with runs.open(folder) as opened:
            found = changed_page(opened, page_)
        return html(request, "changed", at="changed", run=folder.run_id, found=found)

    return routes


class _Pictures:
    """Plots that were drawn, the last ones."""

    def __init__(self) -> None:
        self._known: OrderedDict[object, str | None] = OrderedDict()
        self._lock = Lock()

    def get(self, version: object, make: Callable[[], str | None]) -> str | None:
        with self._lock:
            if version not in self._known:
                self._known[version] = make()
                if len(self._known) > _MOST_PICTURES:
                    self._known.popitem(last=False)
            return self._known[version]
