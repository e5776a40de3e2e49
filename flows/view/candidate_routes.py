"""The pages of a run's candidates."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from thickets.flows.view.candidates_page import (
    SORTS,
    WantedCandidates,
    candidate_page,
    candidate_rows,
    candidates_page,
    candidates_rows,
)
from thickets.flows.view.opened import Runs
from thickets.flows.view.responses import PageNumber, Text, html, rows_file
from thickets.flows.view.rows import check_ending


def candidate_routes(runs: Runs) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

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

    return routes
