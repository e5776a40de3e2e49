"""The pages of `thickets view` say what the run's own tables say, and take nothing that a run holds for markup."""

from __future__ import annotations

import io
import re
import threading
from html import unescape
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from benchmarks.synthetic_run import RUN
from tests.flows.view.made_run import HOSTILE, LONG, made_home
from thickets.flows.report.look import colors, report_style
from thickets.flows.results.progress import ProgressNow
from thickets.flows.results.runs import open_scores
from thickets.flows.services.settings import Credentials
from thickets.flows.view.address import Address, make_address
from thickets.flows.view.app import make_app
from thickets.flows.view.examples_page import FILTERS
from thickets.flows.view.opened import Runs
from thickets.storage.errors import InputError
from thickets.storage.home import Home

ADDRESS = Address("127.0.0.1", 4300)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return made_home(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def pages(home: Home) -> TestClient:
    return client(home)


def client(home: Home, address: Address = ADDRESS, name: str = "127.0.0.1:4300") -> TestClient:
    return TestClient(make_app(home, address), base_url=f"http://{name}")


def links(html: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'data-open href="([^"]+)"', html)]


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


@pytest.mark.parametrize(
    "path", ["/runs", "", "/examples", "/examples?split=selection&sort=hardest", "/candidates", "/changed"]
)
def test_every_page_is_there_and_lets_nothing_foreign_run(pages: TestClient, path: str) -> None:
    found = pages.get(path if path == "/runs" else f"/runs/{RUN}{path}")
    assert found.status_code == 200
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["x-frame-options"] == "DENY"
    foreign = r"<script(?! src=\"/static/view.js\")|<[^>]*\sstyle=|<[^>]*\son\w+=|(?:src|href)=\"(?:\w+:|//)"
    assert re.findall(foreign, found.text) == []


@pytest.mark.parametrize("word", ["fixed", "broken"])
def test_a_filter_shows_what_sql_says(pages: TestClient, home: Home, word: str) -> None:
    with open_scores(home, home.run(RUN)) as scores:
        ids = scores.query("SELECT example_id FROM outcomes WHERE outcome = ? ORDER BY position", [word])["example_id"]
    assert ids.len() > 0
    html = pages.get(f"/runs/{RUN}/examples?show={word}").text
    assert [link.split("?")[0].rsplit("/", 1)[1] for link in links(html)] == ids.to_list()
    assert f"{word} {ids.len()}" in text_of(html)


def test_every_filter_counts_the_rows_it_shows(pages: TestClient) -> None:
    for name in FILTERS:
        html = pages.get(f"/runs/{RUN}/examples", params={"show": name}).text
        assert f"{name or 'all'} {len(links(html)) if name else 30}" in text_of(html), name


def test_a_looping_reply_is_found_in_the_background(home: Home) -> None:
    runs = Runs(home)
    folder = home.run(RUN)
    with runs.open(folder) as run:
        run.rows("SELECT count(*) FROM loops")
    runs._keep(RUN).loops.wait()  # type: ignore[union-attr]
    with runs.open(folder) as run:
        [found] = run.rows("SELECT count(*) AS n FROM loops WHERE split = 'test' AND candidate_id = 'base'")
        [known] = run.rows(
            "SELECT count(*) AS n FROM completions WHERE split = 'test' AND candidate_id = 'base' "
            "AND (length(completion) - length(replace(completion, right(completion, 20), ''))) / 20 >= 4"
        )
    assert found == known


def test_nothing_is_read_any_more_once_it_is_closed(home: Home) -> None:
    runs, folder = Runs(home), home.run(RUN)
    runs.prepare(folder)
    with runs.open(folder) as run:
        run.rows("SELECT count(*) FROM loops")
    runs.close()
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"loops", "prepare"}
    with runs.open(folder) as run:
        run.rows("SELECT count(*) FROM loops")
    assert "loops" not in {thread.name for thread in threading.enumerate()}


def test_text_is_looked_for_in_questions_and_replies(pages: TestClient) -> None:
    assert len(links(pages.get(f"/runs/{RUN}/examples", params={"q": "question 7 OF"}).text)) == 1
    assert len(links(pages.get(f"/runs/{RUN}/examples", params={"q": "ALERT(2)"}).text)) == 1  # in a reply alone
    assert links(pages.get(f"/runs/{RUN}/examples", params={"q": "%' OR true --"}).text) == []


def test_the_walk_through_a_filter_is_its_list(pages: TestClient) -> None:
    first, *others = links(pages.get(f"/runs/{RUN}/examples?show=fixed&sort=hardest").text)
    here, walked = first, []
    while here:
        walked.append(here)
        found = re.search(r'rel="next" href="([^"]+)"', pages.get(here).text)
        here = unescape(found[1]) if found else ""
    assert walked == [first, *others]
    assert "show=fixed" in first


def test_a_hostile_reply_is_text(pages: TestClient) -> None:
    html = pages.get(f"/runs/{RUN}/examples/test/test-00000").text
    assert len(html) < 100_000
    assert "<script>alert" not in html
    assert "<img" not in html
    assert not set("\x1b\u202e\u202c") & set(html)
    assert "<script>alert(1)</script>\N{SYMBOL FOR ESCAPE}[31m" in unescape(html)
    assert "characters left out" in html


def test_a_long_reply_is_whole_as_a_file(pages: TestClient) -> None:
    html = pages.get(f"/runs/{RUN}/examples/test/test-00000").text
    [link] = [unescape(found) for found in re.findall(r'href="(/runs/[^"]+/replies/[^"]+)"', html)]
    found = pages.get(link)
    assert found.text == LONG
    assert found.headers["content-type"] == "text/plain; charset=utf-8"
    assert found.headers["content-disposition"].startswith("attachment")
    assert HOSTILE in found.text


def test_a_candidate_gains_and_loses_what_sql_says(pages: TestClient, home: Home) -> None:
    [link, *_] = links(pages.get(f"/runs/{RUN}/candidates?experts=1").text)
    with open_scores(home, home.run(RUN)) as scores:
        gained, lost = scores.query(
            "SELECT count_if(m.correct AND NOT b.correct), count_if(b.correct AND NOT m.correct) FROM scores AS m "
            "JOIN scores AS b USING (split, example_id) JOIN experts AS e ON e.candidate_id = m.candidate_id "
            "WHERE split = 'test' AND b.candidate_id = 'base' AND rank = 1"
        ).row(0)
    text = text_of(pages.get(link).text)
    assert f"+{gained} gained" in text
    assert f"−{lost} lost" in text


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_all_rows_are_a_file(pages: TestClient, ending: str) -> None:
    body = io.BytesIO(pages.get(f"/runs/{RUN}/examples.{ending}?show=fixed").content)
    rows = pl.read_csv(body) if ending == "csv" else pl.read_parquet(body)
    assert rows["outcome"].unique().to_list() == ["fixed"]
    body = io.BytesIO(pages.get(f"/runs/{RUN}/candidates.{ending}").content)
    assert (pl.read_csv(body) if ending == "csv" else pl.read_parquet(body)).height == 24


@pytest.mark.parametrize(
    ("address", "least", "columns"),
    [
        ("/runs", 1, {"run_id", "vote_low", "over_base"}),
        (f"/runs/{RUN}/results", 3, {"label", "accuracy", "tokens_to_get"}),
        (f"/runs/{RUN}/changed/fates", 6, {"fate", "n"}),
        (f"/runs/{RUN}/changed/answers", 2, {"answer", "shift"}),
        (f"/runs/{RUN}/changed/sigmas", 2, {"sigma", "share_looping"}),
        (f"/runs/{RUN}/answers?split=test&example=test-00003", 4, {"candidate_id", "answer", "is_looping"}),
        (f"/runs/{RUN}/answers?split=selection&example=selection-00003", 25, {"place", "correct"}),
    ],
    ids=lambda value: value.split("/")[-1].split("?")[0] if isinstance(value, str) else "",
)
def test_every_table_is_a_file(pages: TestClient, address: str, least: int, columns: set[str]) -> None:
    path, _, query = address.partition("?")
    csv = pl.read_csv(io.BytesIO(pages.get(f"{path}.csv?{query}").content))
    parquet = pl.read_parquet(io.BytesIO(pages.get(f"{path}.parquet?{query}").content))
    assert csv.height == parquet.height >= least
    assert columns <= set(csv.columns) == set(parquet.columns)
    assert pages.get(f"{path}.xlsx?{query}").status_code == 404


def test_what_a_candidate_gains_is_a_file(pages: TestClient) -> None:
    [link, *_] = links(pages.get(f"/runs/{RUN}/candidates?experts=1").text)
    html = pages.get(f"{link}?show=gained").text
    [address] = [unescape(found) for found in re.findall(r'href="([^"]+\.csv[^"]*)"', html)]
    rows = pl.read_csv(io.BytesIO(pages.get(address).content))
    assert rows.height == len(links(html)) > 0
    assert rows["correct"].all()
    assert not rows["base_correct"].any()


def test_every_page_with_a_table_has_its_rows_as_files(pages: TestClient) -> None:
    for path in ("/runs", *(f"/runs/{RUN}{page}" for page in ("", "/examples", "/candidates", "/changed"))):
        for address in {unescape(found) for found in re.findall(r'href="([^"]+)" download', pages.get(path).text)}:
            assert pages.get(address).status_code == 200, address


def test_a_page_that_is_known_is_not_sent_again(pages: TestClient) -> None:
    first = pages.get(f"/runs/{RUN}/progress")
    again = pages.get(f"/runs/{RUN}/progress", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_colours_are_those_of_the_report(pages: TestClient) -> None:
    common, own = (pages.get(f"/static/{name}.css").text for name in ("common", "style"))
    assert colors() in common
    assert common in report_style()
    assert ":root" not in own
    assert re.findall(r"#[0-9a-f]{3,8}\b", own) == []
    assert pages.get("/static/colors.css").status_code == 404


def test_a_plot_is_a_picture_without_scripts(pages: TestClient) -> None:
    found = pages.get(f"/runs/{RUN}/plots/k_curve.svg")
    assert found.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in found.headers["content-security-policy"]
    assert "prefers-color-scheme" in found.text
    assert pages.get(f"/runs/{RUN}/plots/none.svg").status_code == 404


@pytest.mark.parametrize("path", ["examples?show=none", "examples?page=0", "examples/test/none", "candidates/none"])
def test_what_is_not_there_is_said_in_a_line(pages: TestClient, path: str) -> None:
    found = pages.get(f"/runs/{RUN}/{path}")
    assert found.status_code in (400, 404)
    assert "This cannot be shown" in found.text


def test_a_run_in_progress_is_read_beside_its_writer(tmp_path: Path) -> None:
    home = made_home(tmp_path, 8, 6)
    folder = home.run(RUN)
    folder.summary.unlink()
    folder.scores.write_bytes(b"its writer's")  # whoever opened it would fail
    with home.run_lock(RUN):
        pages = client(home)
        now = {"label": "selection", "stages": ("selection", "test"), "place": 1, "written": "2026-01-01T00:00:00Z"}
        ProgressNow.model_validate(now | {"n_done": 3, "n_units": 12, "left_s": 90}).save(folder.progress)
        assert "3 of 12 units" in pages.get(f"/runs/{RUN}/progress").text
        assert 'data-live="' in pages.get(f"/runs/{RUN}").text
        assert len(links(pages.get(f"/runs/{RUN}/candidates").text)) == 8
        html = pages.get(f"/runs/{RUN}/examples").text  # the selection split: nobody has answered the other
        assert len(links(html)) == 6
        assert "/examples/selection/selection-00000" in links(html)[0]
        assert pages.get(links(html)[0]).status_code == 200
        assert "split=test" in html
        assert "not finished" in html
        assert pages.get(f"/runs/{RUN}/plots/score_by_sigma.svg").status_code == 200
    assert "data-done" in pages.get(f"/runs/{RUN}/progress").text


def test_another_name_for_this_machine_is_not_answered(home: Home) -> None:
    assert client(home, name="evil.example:4300").get("/runs").status_code == 421
    assert client(home, name="localhost:4300").get("/runs").status_code == 200
    assert client(home).post("/runs").status_code == 405


def test_a_password_is_asked_for(home: Home) -> None:
    pages = client(home, Address("0.0.0.0", 4300, Credentials("me", "correct horse")), "anywhere:4300")
    assert pages.get("/runs").status_code == 401
    assert pages.get("/static/style.css").status_code == 401
    assert pages.get("/runs", auth=("me", "wrong")).status_code == 401
    assert pages.get("/runs", auth=("me", "correct horse")).status_code == 200


def test_a_wider_address_needs_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THICKETS_AUTH", raising=False)
    with pytest.raises(InputError, match=r"--host: 0\.0\.0\.0 can be reached from other machines"):
        make_address("0.0.0.0", 0)
    assert make_address("127.0.0.1", 0).port > 0


def test_what_is_made_from_a_finished_run_is_not_the_search_at_its_end(tmp_path: Path) -> None:
    home = made_home(tmp_path, 8, 6)
    folder = home.run(RUN)
    now = {"label": "test", "stages": ("selection", "test"), "place": 2, "written": "2026-01-01T00:00:00Z"}
    ProgressNow.model_validate(now | {"n_done": 12, "n_units": 12}).save(folder.progress)
    rival = folder.root / "rivals" / "es-0123abcd"
    rival.mkdir(parents=True)
    (rival / "config.yaml").touch()
    with home.run_lock(RUN):
        text = client(home).get(f"/runs/{RUN}/progress").text
        assert "rival es-0123abcd" in text
        assert "the search is finished; this is made from it" in text
        assert "100" not in text
        (rival / "summary.json").touch()
        assert "the report is being written" in client(home).get(f"/runs/{RUN}/progress").text
