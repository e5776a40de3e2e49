"""The pages of one run: its result and progress, its plots, its candidates, and what changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from thickets.flows.view.candidates_page import (
    SORTS,
    WantedCandidates,
    candidate_page,
    candidate_rows,
    candidates_page,
    candidates_rows,
)
from thickets.flows.view.changed_page import changed_page, changed_rows
from thickets.flows.view.guard import PICTURE_POLICY, REPORT_POLICY
from thickets.flows.view.judged import Rules
from thickets.flows.view.opened import Runs
from thickets.flows.view.pages import picture
from thickets.flows.view.responses import PageNumber, Text, html, rows_file, tagged
from thickets.flows.view.rows import check_ending
from thickets.flows.view.run_page import draw, progress_of, results_rows, run_page

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
        with runs.open(folder) as opened:
            known = (folder.run_id, plot, opened.version)
            svg = pictures.get(known, lambda: draw(opened, lambda: rules.of(folder), plot))
        if svg is None:
            raise HTTPException(404, "there is no such plot of this run yet")
        drawn = picture(svg).encode()
        return tagged(request, drawn, "image/svg+xml", {"content-security-policy": PICTURE_POLICY})

    @routes.get("/runs/{name}/candidates")
    def board(
        request: Request,
        name: str,
        sigma: float | None = None,
        experts: bool = False,
        sort: Text = "place",
        page_: PageNumber = 1,
    ) -> Response:
        folder, wanted = runs.find(name), WantedCandidates(sigma, experts, sort, page_).check()
        with runs.open(folder) as opened:
            found = candidates_page(opened, wanted)
        return html(request, "candidates", at="candidates", run=folder.run_id, found=found, sorts=SORTS)

    @routes.get("/runs/{name}/candidates.{ending}")
    def board_rows(
        name: str, ending: str, sigma: float | None = None, experts: bool = False, sort: Text = "place"
    ) -> Response:
        folder, wanted = runs.find(name), WantedCandidates(sigma, experts, sort).check()
        check_ending(ending)
        with runs.open(folder) as opened:
            rows = candidates_rows(opened, wanted)
        return rows_file(rows, f"{folder.run_id}-candidates", ending)

    @routes.get("/runs/{name}/candidates/{who}")
    def one_candidate(
        request: Request, name: str, who: str, split: Text = "", show: Text = "all", page_: PageNumber = 1
    ) -> Response:
        folder = runs.find(name)
        with runs.open(folder) as opened:
            found = candidate_page(opened, who, split, show, page_)
        return html(request, "candidate", at="candidates", run=folder.run_id, found=found)

    @routes.get("/runs/{name}/candidates/{who}/questions.{ending}")
    def candidate_questions(name: str, who: str, ending: str, split: Text, show: Text = "all") -> Response:
        folder = runs.find(name)
        check_ending(ending)
        with runs.open(folder) as opened:
            rows = candidate_rows(opened, who, split, show)
        return rows_file(rows, f"{folder.run_id}-{who}", ending)

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
