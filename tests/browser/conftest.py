"""A real server process and a real headless Chromium. Every request and every script error of a page is watched."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, expect, sync_playwright

from tests.browser.window import Window
from webui.server.environment import QUIET

ROOT = Path(__file__).parents[2]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
START_LIMIT = 240.0


class Server:
    """A server process, its address and its folders. module: what is run, with the options of `serve`."""

    def __init__(
        self, root: Path, module: str = "tests.browser.serve", models: Path | None = None, options: Sequence[str] = ()
    ) -> None:
        self.root = root
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folders = {"models": models or root / "models", "output": root / "outputs", "data": root / "data"}
        places = [f"--{name}-dir={folder}" for name, folder in folders.items()]
        self._command = [sys.executable, "-m", module, f"--port={self.port}", *places, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.root / "server.log"
        given = {name: value for name, value in os.environ.items() if name not in QUIET}  # a test here may have set it
        with log.open("ab") as file:
            self._process = subprocess.Popen(self._command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=given)
        deadline = time.monotonic() + START_LIMIT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._process = None

    def jobs(self) -> list[dict]:
        """All jobs, newest first."""
        return httpx.get(f"{self.url}/api/v1/jobs", params={"limit": 500}).json()["jobs"]

    def picture(self, image_id: str) -> bytes:
        return httpx.get(f"{self.url}/api/v1/images/{image_id}.png").content

    def input(self, sha256: str) -> Path:
        return self.root / "data" / "inputs" / f"{sha256}.png"

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v1/status", timeout=1).status_code == 200
        except httpx.TransportError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        reason = "no Chromium on this computer: install the package `chromium` to run the browser tests"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server"))
    one.start()
    yield one
    one.stop()


class Watched:
    """One browser profile for all tests (its cache makes pages open fast), and what its pages did wrong."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self._server = server
        self.wrong: list[str] = []
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=server.url)
        self.context.set_default_timeout(40_000)
        self.context.on("page", self._watch)
        self.context.on("request", self._note_foreign)

    def new_window(self) -> Window:
        return Window.open(self.context.new_page())

    def forget(self) -> None:
        """Close all windows and empty the profile's storage, but for its cache."""
        page = self.context.new_page()
        for other in self.context.pages:
            if other is not page:
                other.close()
        page.goto("/api/v1/status")
        page.evaluate("() => localStorage.clear()")
        page.close()

    def _watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.wrong.append(f"script error: {error}"))
        page.on("dialog", self._dismiss)
        page.on("console", self._note_policy)

    def _note_policy(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.wrong.append(message.text)

    def _dismiss(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note_foreign(self, request: Request) -> None:
        if _is_foreign(request.url, self._server):
            self.wrong.append(f"request to another host: {request.url}")


def _is_foreign(url: str, server: Server) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.netloc != f"127.0.0.1:{server.port}"


@pytest.fixture(scope="session")
def watched(browser: Browser, server: Server) -> Watched:
    return Watched(browser, server)


@pytest.fixture
def new_window(watched: Watched) -> Iterator[Callable[[], Window]]:
    """Opens windows of one browser. Fails where a page asked anything of another host, or a script broke."""
    yield watched.new_window
    watched.forget()
    wrong, watched.wrong = watched.wrong, []
    assert wrong == []


@pytest.fixture
def window(new_window: Callable[[], Window]) -> Window:
    return new_window()


@pytest.fixture(scope="module")
def window_once(browser: Browser, server: Server) -> Iterator[Window]:
    """One window for several tests that only ask its script something."""
    profile = browser.new_context(base_url=server.url)
    yield Window.open(profile.new_page())
    profile.close()
