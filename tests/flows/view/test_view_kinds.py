"""Runs of other kinds: what a question shows beside its text, and what other methods made of the run."""

from __future__ import annotations

import io
import re
from html import unescape
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from starlette.testclient import TestClient

from benchmarks.synthetic_run import RUN, make_run
from thickets.flows.view.address import Address
from thickets.flows.view.app import make_app
from thickets.flows.view.images import image_file
from thickets.flows.view.judged import Explainer
from thickets.storage.home import Home
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge, Verdict
from thickets.tasks.types import Example

CONFIG = (
    "model: tiny\nproblem: {{name: file, path: {}, verifier: exact, image_column: image}}\npopulation: {{size: 1}}\n"
)


def pages_of(home: Home) -> TestClient:
    return TestClient(make_app(home, Address("127.0.0.1", 4300)), base_url="http://127.0.0.1:4300")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose run asks about images; the data lie beside it."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "data" / "images").mkdir(parents=True)
    Image.new("RGB", (40, 30), "red").save(folder / "data" / "images" / "red.png")
    (folder / "data" / "images" / "text.png").write_text("<svg onload=alert(1)>")
    Image.new("RGB", (4, 3), "blue").save(folder / "secret.png")
    make_run(folder / "home", 8, (6, 6, 6), 3)
    home = Home(folder / "home")
    run = home.run(RUN)
    run.config.write_text(CONFIG.format(folder / "data" / "rows.jsonl"))
    names = pl.DataFrame(
        {
            "example_id": [f"test-0000{n}" for n in range(5)],
            "image": [
                "images/red.png",
                "images/gone.png",
                "../secret.png",
                str(folder / "secret.png"),
                "images/text.png",
            ],
        }
    )
    prompts = pl.read_parquet(run.prompts).drop("image").join(names, on="example_id", how="left", maintain_order="left")
    prompts.write_parquet(run.prompts)
    return home


def test_a_question_about_an_image_shows_it(home: Home) -> None:
    pages = pages_of(home)
    html = pages.get(f"/runs/{RUN}/examples/test/test-00000").text
    [address] = [unescape(found) for found in re.findall(r'<img src="([^"]+)" alt="images/red.png"', html)]
    found = pages.get(address)
    assert found.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(found.content)) as picture:
        assert (picture.size, picture.getpixel((0, 0))) == ((40, 30), (255, 0, 0))
    gone = pages.get(f"/runs/{RUN}/examples/test/test-00001").text
    assert "The image images/gone.png is not on this machine" in gone
    assert "<img" not in pages.get(f"/runs/{RUN}/examples/test/test-00005").text


@pytest.mark.parametrize("number", [1, 2, 3, 4], ids=["gone", "outside", "absolute", "text"])
def test_nothing_but_images_beside_the_data_is_served(home: Home, number: int) -> None:
    assert pages_of(home).get(f"/runs/{RUN}/images/test/test-0000{number}").status_code == 404


def test_a_link_out_of_the_data_is_not_followed(home: Home) -> None:
    data = home.root.parent / "data"
    (data / "link.png").symlink_to(home.root.parent / "secret.png")
    assert image_file(home.run(RUN), "link.png") is None
    assert image_file(home.run(RUN), "images/red.png") == (data / "images" / "red.png").resolve()


def test_texts_that_vote_by_similarity_say_so(tmp_path: Path) -> None:
    make_run(tmp_path, 8, (6, 6, 6), 3, metric="rougeL")
    html = pages_of(Home(tmp_path)).get(f"/runs/{RUN}/examples/test/test-00000").text
    assert "rougeL to the others" in html
    assert "of the votes" not in html


def test_the_report_is_served_without_scripts(home: Home) -> None:
    run, pages = home.run(RUN), pages_of(home)
    assert pages.get(f"/runs/{RUN}/report.html").status_code == 404
    run.report.write_text("<p>the report<script>alert(1)</script>")
    found = pages.get(f"/runs/{RUN}/report.html")
    assert "the report" in found.text
    assert "script-src" not in found.headers["content-security-policy"]
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert "sandbox" in found.headers["content-security-policy"]
    assert f'href="/runs/{RUN}/report.html"' in pages.get(f"/runs/{RUN}").text
    run.report.unlink()


def test_programs_are_explained_without_their_tests() -> None:
    columns = {"name": "file", "path": "unread.jsonl", "verifier": "tests"}
    rules = Explainer(Judge(load_problem(ProblemConfig.model_validate(columns))), "tests")
    asked = Example("1", "Add.", "def add(a, b): return a + b")
    assert rules.why(asked, "def add(a, b): pass", Verdict("01:14d85bfdacf2457f", 500, False)) == (
        "wrong: 1 of 2 tests passed, score 0.5"
    )
    assert rules.why(asked, "no", Verdict(None, 0, False)).startswith("abstains: no Python function")
