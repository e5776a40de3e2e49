"""The pages in a real browser: keys, links, filters, dark and narrow, and a run that is watched while it goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prefect.settings import PREFECT_API_URL

from benchmarks.synthetic_run import RUN
from benchmarks.view_picture import served
from tests.flows.view.browser import CHROMIUM, needs_browser
from tests.flows.view.made_run import made_home
from tests.patience import PATIENCE_S, wait_for
from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.view.so_far import PLOTS
from thickets.storage.home import Home

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [needs_browser, pytest.mark.slow]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as found:
        browser = found.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(made_home(tmp_path_factory.mktemp("view"), questions=60)) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may report nothing: no error of a script, nothing that the policy has refused."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: told.append(f"dialog: {dialog.message}"))
    page.set_default_timeout(1000 * PATIENCE_S)
    yield page
    context.close()
    assert told == []


def test_keys_walk_open_and_go_back(page: Page, site: str) -> None:
    page.goto(f"{site}/runs/{RUN}/examples?show=fixed")
    ids = [each.get_attribute("href") for each in page.locator("a[data-open]").all()]
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.locator("tr[data-at] a[data-open]").get_attribute("href") == ids[1]
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{ids[0]}")
    page.keyboard.press("j")
    page.wait_for_url(f"**{ids[1]}")
    assert "2 of" in page.locator(".walk").inner_text()
    page.keyboard.press("k")
    page.wait_for_url(f"**{ids[0]}")
    page.keyboard.press("Escape")
    page.wait_for_url(f"**/runs/{RUN}/examples?show=fixed")
    page.keyboard.press("Escape")
    page.wait_for_url(f"**/runs/{RUN}")
    page.keyboard.press("Escape")
    page.wait_for_url("**/runs")


def test_j_on_the_last_row_is_the_next_page(page: Page, site: str) -> None:
    page.goto(f"{site}/runs/{RUN}/examples")
    for _ in range(26):
        page.keyboard.press("j")
    page.wait_for_url("**/examples?page=2")


def test_slash_searches_and_the_question_mark_says_the_keys(page: Page, site: str) -> None:
    page.goto(f"{site}/runs/{RUN}/examples")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()
    page.keyboard.press("/")
    page.keyboard.type("question 7 of")
    page.keyboard.press("Enter")
    page.wait_for_url("**/examples?*q=question+7+of*")
    assert page.locator("a[data-open]").count() == 1
    assert page.locator("input[type=search]").input_value() == "question 7 of"


def test_a_filter_is_a_link_that_can_be_sent(page: Page, site: str) -> None:
    page.goto(f"{site}/runs/{RUN}/examples")
    page.locator(".filters a.broken").click()
    page.wait_for_url("**/examples?show=broken")
    page.locator("select[name=sort]").select_option("hardest")
    page.wait_for_url(re.compile("show=broken.*sort=hardest"))
    shown = page.locator("a[data-open]").all_inner_texts()
    sent = page.context.new_page()
    sent.goto(page.url)
    assert sent.locator("a[data-open]").all_inner_texts() == shown
    assert sent.locator(".filters a[aria-current]").inner_text().startswith("broken")


def test_a_hostile_reply_does_nothing(page: Page, site: str) -> None:
    page.goto(f"{site}/runs/{RUN}/examples/test/test-00000")
    assert "<script>alert(1)</script>" in page.locator("article.reply pre").first.inner_text()
    assert page.locator("article.reply pre *:not(mark):not(.gap)").count() == 0
    with page.expect_download() as download:
        page.locator("article.reply a[download]").first.click()
    assert Path(download.value.path()).stat().st_size > 3_000_000


@pytest.mark.parametrize("path", ["", "/examples", "/examples/test/test-00000", "/candidates", "/changed", "/runs"])
def test_a_narrow_page_has_nothing_beside_it(page: Page, site: str, path: str) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto(f"{site}/runs/{RUN}{path}" if path != "/runs" else f"{site}{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_it_is_dark_where_the_system_is(page: Page, site: str) -> None:
    page.goto(f"{site}/runs/{RUN}")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 23, 27)")


def test_everything_can_be_read_without_scripts(browser: Browser, site: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/runs/{RUN}/examples")
    page.locator(".filters a.fixed").click()
    page.locator("a[data-open]").first.click()
    assert page.locator("article.reply").count() >= 4
    page.locator("a[rel=next]").click()
    assert "2 of" in page.locator(".walk").inner_text()
    context.close()


def test_what_cannot_be_compared_is_said(browser: Browser, site: str) -> None:
    page = browser.new_page()
    page.goto(f"{site}/runs")
    page.get_by_role("button", name="Compare").click()
    assert "tick two runs or more" in page.locator("main").inner_text()
    page.close()


@pytest.mark.usefixtures("prefect_server")
def test_a_run_is_watched_while_it_goes_on(page: Page, config: Callable[..., RunConfig], tmp_path: Path) -> None:
    sections = {"population": {"size": 600, "sigmas": [0.05, 0.1]}, "scoring": {"candidates_per_shard": 3}}
    (tmp_path / "my.yaml").write_text(dump_config(config(**sections)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if url := PREFECT_API_URL.value():
        environment["PREFECT_API_URL"] = url
    command = [sys.executable, "-m", "thickets", "run", str(tmp_path / "my.yaml")]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with served(Home(Path(config().storage.home))) as site:
            # Playwright's own way of waiting would need a policy that lets texts be run.
            wait_for(lambda: page.goto(f"{site}/runs?state=running") and page.locator("a[data-open]").count() == 1)
            page.locator("a[data-open]").first.click()
            facts = page.locator(".progress .facts")
            wait_for(lambda: re.search(r"[1-9]\d* of \d+ units", facts.inner_text()))
            page.evaluate("window.isTheSamePage = true")
            first = facts.inner_text()
            wait_for(lambda: facts.inner_text() != first)
            assert page.evaluate("window.isTheSamePage")  # a part of it was fetched, not all of it
            assert page.locator(".stages .now").inner_text() == "selection"
            assert page.locator("figure img").count() == len(PLOTS)
            density = page.locator("figure img[src*=density_curve]")
            density.scroll_into_view_if_needed()
            wait_for(lambda: density.evaluate("image => image.complete && image.naturalHeight > 100"))
            page.goto(page.url + "/candidates")
            assert page.locator("a[data-open]").count() > 0
            page.go_back()
            assert run.wait(PATIENCE_S) == 0
            page.wait_for_selector("table.results", timeout=1000 * PATIENCE_S)
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGKILL)
            run.wait()
