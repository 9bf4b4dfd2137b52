"""Logging in, links from other sites, and what other sites can do to somebody who is logged in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.server.test_start import NO_WAY_OUT, Server

pytestmark = pytest.mark.browser

ELSEWHERE = "http://elsewhere.example/"
# Each of these is refused by the browser, because the server gave no leave to read, or answered 403.
ATTACKS = """async (server) => {
  const tries = [
    ["/api/v1/jobs", {}], ["/api/v1/jobs", {credentials: "include"}], ["/config", {credentials: "include"}],
    ["/api/v1/jobs", {method: "POST", body: "{}", headers: {"content-type": "application/json"}}],
    ["/gradio_api/upload", {method: "POST", body: new FormData(), credentials: "include"}],
    ["/logout", {method: "POST", credentials: "include"}],
  ];
  const read = [];
  for (const [path, options] of tries) {
    try { read.push([path, (await fetch(server + path, options)).status]); } catch { /* refused */ }
  }
  return read;
}"""
SILENT_ATTACKS = """async (server) => {
  const form = new FormData();
  form.append("files", new Blob(["x"]), "x.txt");
  for (const path of ["/gradio_api/upload", "/logout", "/api/v1/jobs", "/api/v1/images"]) {
    await fetch(server + path, {method: "POST", body: form, mode: "no-cors", credentials: "include"}).catch(() => null);
  }
}"""


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants a login, and a public link that it does not get."""
    folder = tmp_path_factory.mktemp("closed")
    server = Server(folder, "--port=0", "--auth=ann:apple", "--share", **NO_WAY_OUT)
    server.url()
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def profile(browser: Browser, closed: Server) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=closed.url())
    context.set_default_timeout(60_000)
    context.route(f"{ELSEWHERE}**", lambda route: _elsewhere(route, closed.url()))
    yield context
    context.close()


def _elsewhere(route: Route, server: str) -> None:
    picture = f'<img src="{server}/config"><iframe src="{server}/"></iframe>'
    route.fulfill(body=f'<a href="{server}/">a link</a>{picture}', content_type="text/html")


def log_in(page: Page, password: str = "apple") -> None:
    page.goto("/")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def expect_the_page(page: Page) -> None:
    expect(page.locator("#txt2img-generate")).to_be_visible(timeout=60_000)


def test_a_wrong_password_is_told_a_right_one_opens_the_page_and_logging_out_closes_it(profile: BrowserContext) -> None:
    page = profile.new_page()
    problems: list[str] = []
    log_in(page, "pear")
    expect(page.get_by_role("alert")).to_have_text("This name and password are not known here.")
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    log_in(page)
    expect_the_page(page)
    assert problems == []
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto("/")
    expect(page.get_by_label("Password")).to_be_visible()
    # what the page asks for while it is being left is refused, and told there
    assert [text for text in problems if "401 (Unauthorized)" not in text] == []


def test_why_there_is_no_public_link_stands_on_the_page(profile: BrowserContext) -> None:
    page = profile.new_page()
    log_in(page)
    expect_the_page(page)
    told = "There is no public link: api.gradio.app cannot be reached"
    expect(page.locator("#a-banner")).to_contain_text(told, timeout=60_000)


def test_a_link_on_another_site_opens_the_page_for_whoever_is_logged_in(profile: BrowserContext) -> None:
    page = profile.new_page()
    log_in(page)
    expect_the_page(page)
    page.goto(ELSEWHERE)
    page.get_by_text("a link").click()
    expect_the_page(page)


def test_another_site_can_neither_read_nor_do_anything(profile: BrowserContext, closed: Server, tmp_path: Path) -> None:
    page = profile.new_page()
    log_in(page)
    expect_the_page(page)
    cache = closed.folder / "data" / "cache"
    before = sorted(cache.rglob("*"))
    page.goto(ELSEWHERE)
    assert page.evaluate(ATTACKS, closed.url()) == []
    page.evaluate(SILENT_ATTACKS, closed.url())
    assert page.frames[1].locator("#txt2img-generate").count() == 0
    assert sorted(cache.rglob("*")) == before
    page.goto(closed.url())
    expect_the_page(page)  # still logged in: nobody else could log out
    assert page.evaluate("async () => (await (await fetch('/api/v1/jobs')).json()).jobs") == []
