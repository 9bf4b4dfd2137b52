"""What a user does with the page and sees of it, in the words of the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

PAINT = "#inpaint-editor"


@dataclass
class Window:
    """One browser window."""

    page: Page

    @staticmethod
    def open(page: Page) -> Window:
        window = Window(page)
        page.goto("/")
        window.stands()
        return window

    def stands(self) -> None:
        """Wait until the page's script has started."""
        self.page.wait_for_selector("body.a-up")

    def reload(self) -> None:
        self.page.reload()
        self.stands()

    def tab(self, name: str) -> None:
        self.page.click(f"#tab-{name}-button")
        lists = {"gallery": "#a-gallery", "extensions": "#a-extensions", "models": "#a-cards"}
        first = lists.get(name, f"#{name}-generate")
        self.page.wait_for_selector(first, state="attached")

    def prompt(self, text: str, tab: str = "txt2img") -> None:
        self.page.fill(f"#{tab}-prompt textarea", text)

    def number(self, field: str, value: int | str, tab: str = "txt2img") -> None:
        """Type a value into a number, whatever its control."""
        box = self.page.locator(f"#{tab}-{field} input:not([type=range])")
        box.fill(str(value))
        box.blur()

    def watch(self, part: str, attribute: str = "") -> Callable[[], list[str]]:
        """From now on keep every text (or value of an attribute) that a part of the result shows.

        Returns what was seen: a fast job is over before a test has looked.
        """
        seen = self.page.evaluate_handle(
            """([part, attribute]) => {
                const element = document.querySelector(`#a-panel .a-${part}`), seen = [];
                const look = () => seen.push(attribute ? element.getAttribute(attribute) : element.textContent);
                const all = {attributes: true, childList: true, characterData: true, subtree: true};
                new MutationObserver(look).observe(element, all);
                return seen;
            }""",
            [part, attribute],
        )
        return lambda: [text for text in seen.json_value() if text]

    def has(self, tab: str = "txt2img", **values: str) -> None:
        """Wait until the fields of a form show these values."""
        for field, value in values.items():
            box = self.page.locator(f"#{tab}-{field} :is(textarea, input:not([type=range]))")
            expect(box).to_have_value(value)

    def choose_model(self, name: str) -> None:
        """Pick a model from the list on top; one that cannot be used has a sign before its name."""
        self.page.click("#model input")
        self.page.locator("#model [role=option]", has_text=name).click()

    def generate(self, tab: str = "txt2img") -> None:
        self.page.click(f"#{tab}-generate")

    def made(self, count: int = 1) -> list[str]:
        """Wait until this window has so many pictures and nothing runs; their ids, newest job first."""
        self.page.wait_for_function(
            "count => atelier.result.pictures().length >= count && !atelier.jobs.waiting().length", arg=count
        )
        expect(self.picture).to_be_visible()
        return self.page.evaluate("atelier.result.pictures().map(({image}) => image.id)")

    def runs(self) -> None:
        """Wait until a step of a job of this window is shown; the hidden line still has the words of the job before."""
        expect(self.page.locator("#a-panel .a-progress")).to_be_visible()
        expect(self.page.locator("#a-panel .a-now")).to_contain_text("Step")

    def rests(self) -> None:
        """Wait until no job of this window waits or runs."""
        expect(self.page.locator("#a-panel .a-progress")).to_be_hidden()

    def states(self) -> list[str]:
        """The states of this window's jobs, oldest first."""
        return self.page.evaluate("atelier.jobs.known().map(view => view.state)")

    def messages(self, place: str) -> Locator:
        """Messages of a tab, or of the result ("result")."""
        return self.page.locator(f".a-messages[data-tab='{place}'] .a-message")

    @property
    def picture(self) -> Locator:
        return self.page.locator("#a-panel .a-picture")

    @property
    def text(self) -> Locator:
        return self.page.locator("#a-panel .a-text")

    def drop_on_prompt(self, file: Path, tab: str = "txt2img") -> None:
        """Drop a file from the desktop on the prompt."""
        data = self.page.evaluate_handle(
            """([name, bytes]) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
                return transfer;
            }""",
            [file.name, list(file.read_bytes())],
        )
        target = f"#{tab}-prompt textarea"
        self.page.dispatch_event(target, "dragover", {"dataTransfer": data})
        self.page.dispatch_event(target, "drop", {"dataTransfer": data})

    def load_into_editor(self, file: Path) -> None:
        """Load a picture into the mask editor and wait until it can be painted on."""
        self.page.wait_for_selector(f"{PAINT} canvas")
        self.page.set_input_files(f"{PAINT} input[type=file]", file)
        self.editor_has_picture()

    def editor_has_picture(self) -> None:
        """Wait until the editor shows a picture; then one pixel of the picture on one of the screen."""
        self.page.wait_for_selector(f"{PAINT} button[aria-label='Brush Size']")
        self.page.wait_for_timeout(700)  # the picture slides into its place
        self.page.click(f"{PAINT} .zoom-number span")
        self.page.click(f"{PAINT} .zoom-controls button:text-is('100%')")
        expect(self.page.locator(f"{PAINT} .zoom-number span")).to_have_text("100%")
        self.page.wait_for_timeout(500)

    def canvas_point(self, size: tuple[int, int], x: float, y: float) -> tuple[float, float]:
        """Where on the screen the pixel (x, y) of the editor's picture of `size` lies: it is centred."""
        box = self.page.locator(f"{PAINT} canvas").first.bounding_box()
        assert box is not None
        return box["x"] + (box["width"] - size[0]) / 2 + x, box["y"] + (box["height"] - size[1]) / 2 + y

    def paint(self, size: tuple[int, int], start: tuple[int, int], end: tuple[int, int]) -> None:
        """A stroke with the mouse, from one pixel of the picture to another."""
        mouse = self.page.mouse
        mouse.move(*self.canvas_point(size, *start))
        mouse.down()
        mouse.move(*self.canvas_point(size, *end), steps=6)
        mouse.up()
        self.page.wait_for_timeout(200)

    def evaluate(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)
