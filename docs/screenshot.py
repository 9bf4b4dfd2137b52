"""Makes docs/images/txt2img.png, the README's picture of the page, from the real page: python -m docs.screenshot

Needs what the browser tests need (Playwright's Python package and Chromium). Starts a server of its own.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "a big yellow cone on a gray floor, black sky"
PICTURES, SEED, STEPS = 6, 7, 30


def main() -> None:
    parser = argparse.ArgumentParser(description="A picture of the page with six pictures made on it.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "txt2img.png")
    parser.add_argument("--dark", action="store_true", help="the dark page")
    parser.add_argument("--prompt", default=PROMPT)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as url, sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        scheme = "dark" if parsed.dark else "light"
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(300_000)
        draw(page, url, parsed.prompt)
        parsed.output.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=parsed.output)
        browser.close()


def draw(page: Page, url: str, prompt: str) -> None:
    """Open the page and let it make pictures."""
    page.goto(url)
    page.wait_for_selector("body.a-up")
    page.click("#a-hint .a-example >> nth=0")  # brings the settings that suit the model
    page.wait_for_function("() => document.querySelector('#txt2img-prompt textarea').value")
    page.fill("#txt2img-prompt textarea", prompt)
    values = {"batch_size": PICTURES, "seed": SEED, "steps": STEPS}
    for field, value in values.items():
        page.fill(f"#txt2img-{field} input:not([type=range])", str(value))
    page.keyboard.press("Tab")
    page.click("#txt2img-generate")
    page.wait_for_function(
        "count => atelier.result.pictures().length === count && !atelier.jobs.waiting().length", arg=PICTURES
    )
    page.wait_for_function("() => [...document.images].every((image) => image.complete)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A server over the shipped models; its address."""
    options = ["--port=0", f"--data-dir={folder / 'data'}", f"--output-dir={folder / 'outputs'}"]
    command = [sys.executable, "-u", "-m", "webui", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield next(filter(None, (re.search(r"http://\S+", line) for line in process.stdout)))[0]
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    main()
