"""The pages of a run's questions and replies."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from thickets.flows.view.example_page import answers_rows, example_page, question_image
from thickets.flows.view.examples_page import FILTERS, SORTS, Wanted, examples_page, examples_rows
from thickets.flows.view.images import drawn_again
from thickets.flows.view.judged import Rules
from thickets.flows.view.opened import Runs
from thickets.flows.view.replies import fetch_replies
from thickets.flows.view.responses import PageNumber, Text, html, rows_file, tagged
from thickets.flows.view.rows import check_ending
from thickets.flows.view.tables import is_finished
from thickets.storage.home import RunFolder


def example_routes(runs: Runs, rules: Rules) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

    @routes.get("/runs/{name}/examples")
    def examples(
        request: Request,
        name: str,
        split: Text = "",
        show: Text = "",
        q: Text = "",
        sort: Text = "position",
        page_: PageNumber = 1,
    ) -> Response:
        folder = runs.find(name)
        usual = _usual_split(folder)
        wanted = Wanted(split or usual, show, q, sort, page_, usual).check()
        with runs.open(folder) as opened:
            found = examples_page(opened, wanted)
        return html(request, "examples", at="examples", run=folder.run_id, found=found, filters=FILTERS, sorts=SORTS)

    @routes.get("/runs/{name}/examples.{ending}")
    def example_rows(
        name: str, ending: str, split: Text = "", show: Text = "", q: Text = "", sort: Text = "position"
    ) -> Response:
        folder = runs.find(name)
        wanted = Wanted(split or _usual_split(folder), show, q, sort).check()
        check_ending(ending)
        with runs.open(folder) as opened:
            rows = examples_rows(opened, wanted)
        return rows_file(rows, f"{folder.run_id}-examples", ending)

    @routes.get("/runs/{name}/answers.{ending}")
    def answer_rows(name: str, ending: str, split: Text, example: Text) -> Response:
        folder, wanted = runs.find(name), Wanted(split).check()
        check_ending(ending)
        with runs.open(folder) as opened:
            rows = answers_rows(opened, wanted, example)
        return rows_file(rows, f"{folder.run_id}-answers", ending)

    @routes.get("/runs/{name}/examples/{split}/{example:path}")
    def one_example(
        request: Request,
        name: str,
        split: str,
        example: str,
        show: Text = "",
        q: Text = "",
        sort: Text = "position",
        who: Text = "",
        page_: PageNumber = 1,
    ) -> Response:
        folder = runs.find(name)
        wanted = Wanted(split, show, q, sort, usual=_usual_split(folder)).check()
        with runs.open(folder) as opened:
            found = example_page(opened, rules.of(folder), wanted, example, who, page_)
        return html(request, "example", at="examples", run=folder.run_id, found=found, who=who)

    @routes.get("/runs/{name}/images/{split}/{example:path}")
    def image(request: Request, name: str, split: str, example: str) -> Response:
        with runs.open(runs.find(name)) as opened:
            path = question_image(opened, split, example)
        drawn = None if path is None else drawn_again(path)
        if drawn is None:
            raise HTTPException(404, "this image is not on this machine")
        return tagged(request, drawn, "image/png")

    @routes.get("/runs/{name}/replies/{split}/{who}/{example:path}")
    def whole_reply(name: str, split: str, who: str, example: str) -> Response:
        folder = runs.find(name)
        with runs.open(folder) as opened:
            known = opened.rows(
                "SELECT shard_id FROM scores WHERE candidate_id = $who AND split = $split AND example_id = $example",
                {"who": who, "split": split, "example": example},
            )
            keys = [(str(row["shard_id"]), who, split, example) for row in known]
            found = fetch_replies(opened.shards, keys, None).get((who, example))
        if found is None:
            raise HTTPException(404, "this reply is not on this machine")
        return Response(
            found.text.encode("utf-8", "surrogatepass"),
            media_type="text/plain; charset=utf-8",
            headers={"content-disposition": 'attachment; filename="reply.txt"'},
        )

    return routes


def _usual_split(folder: RunFolder) -> str:
    """Return the split to begin with: until the vote is chosen nobody has answered the test split."""
    return "test" if is_finished(folder) else "selection"
