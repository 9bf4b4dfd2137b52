"""Prompt and form: a dropped picture fills them, keys, dice, recycle, hostile words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect

from tests.browser.conftest import Server
from tests.browser.window import Window

pytestmark = pytest.mark.browser

HOSTILE = (
    "<img src=x onerror=alert(1)>", "<script>alert(2)</script>", "'\"><svg onload=alert(3)>", "</textarea><b>bold</b>",
    "{{7*7}} ${alert(4)} javascript:alert(5)", "<iframe srcdoc='<script>alert(6)</script>'></iframe>",
)  # fmt: skip


def picture_with(text: str, path: Path) -> Path:
    chunks = PngInfo()
    chunks.add_itxt("parameters", text)
    Image.new("RGB", (16, 16)).save(path, pnginfo=chunks)
    return path


def test_a_picture_dropped_on_the_prompt_fills_the_form(window: Window, tmp_path: Path) -> None:
    text = (
        "a (castle:1.2) by night\nNegative prompt: people\n"
        "Steps: 300, Sampler: Euler a, Schedule type: Karras, CFG scale: 3.5, Seed: 77, Size: 96x160, Model: other"
    )
    window.drop_on_prompt(picture_with(text, tmp_path / "castle.png"))
    expect(window.messages("txt2img").first).to_have_text(
        re.compile(r"The form is filled from the picture. It was made with the model other.")
    )
    window.has(
        prompt="a (castle:1.2) by night", negative_prompt="people", sampler="Euler a", scheduler="Karras",
        steps="300", cfg_scale="3.5", seed="77", width="96", height="160",
    )  # fmt: skip


def test_a_picture_without_text_changes_nothing_and_says_so(window: Window, tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.new("RGB", (16, 16)).save(plain)
    window.prompt("mine")
    window.drop_on_prompt(plain)
    expect(window.messages("txt2img")).to_contain_text("no generation text")
    window.has(prompt="mine")


def test_a_made_picture_gives_back_its_own_form(window: Window, server: Server, tmp_path: Path) -> None:
    window.prompt("there and back")
    window.number("steps", 5)
    window.number("seed", 4321)
    window.generate()
    (image_id,) = window.made()
    made = tmp_path / "made.png"
    made.write_bytes(server.picture(image_id))
    for field, other in {"steps": 9, "seed": -1}.items():
        window.number(field, other)
    window.prompt("something else")
    window.drop_on_prompt(made)
    expect(window.messages("txt2img").first).to_contain_text("filled")
    window.has(prompt="there and back", steps="5", seed="4321")


def test_the_tokens_of_a_prompt_are_counted_while_it_is_written(window: Window) -> None:
    window.prompt("a red ball BREAK a blue ball")
    count = window.page.locator("#txt2img-prompt .a-tokens")
    expect(count).to_have_text("3 + 3/150")
    window.prompt("[blue:half:x] ball")
    expect(count).to_have_text(re.compile(r"/75 !$"))
    expect(count).to_have_attribute("title", re.compile("no number ends it"))
    window.prompt("")
    expect(count).to_be_empty()


def test_dice_recycle_and_reuse_set_the_seed(window: Window) -> None:
    window.number("steps", 2)
    window.number("seed", 11)
    window.number("batch_size", 2)
    window.generate()
    window.made(2)
    window.page.click("#txt2img-random")
    window.has(seed="-1")
    window.page.click("#a-panel .a-strip .a-thumb >> nth=1")
    window.page.click("#txt2img-reuse")
    window.has(seed="12")
    window.number("steps", 30)
    window.page.click("#a-panel .a-strip .a-thumb >> nth=0")
    window.page.click("#a-panel .a-reuse")
    window.has(seed="11", steps="2")


def test_example_prompts_go_into_the_prompt_at_a_click(window: Window) -> None:
    window.page.click("#a-hint .a-example >> nth=0")
    window.has(prompt="a big red ball on a green floor, blue sky")
    expect(window.page.locator("#a-hint .a-hint-text")).to_have_text("Draws noise.")


def test_keys_generate_skip_and_interrupt(window: Window) -> None:
    window.number("steps", 1000)
    window.page.focus("#txt2img-prompt textarea")
    window.page.keyboard.press("Control+Enter")
    window.runs()
    window.page.keyboard.press("Escape")
    window.rests()
    assert window.states() == ["interrupted"]


def test_ctrl_up_and_down_change_the_weight_of_the_selected_words(window: Window) -> None:
    area = "#txt2img-prompt textarea"
    window.prompt("a red ball")
    window.page.evaluate("() => document.querySelector('#txt2img-prompt textarea').setSelectionRange(2, 5)")
    window.page.focus(area)
    for expected in ("a (red:1.1) ball", "a (red:1.2) ball"):
        window.page.keyboard.press("Control+ArrowUp")
        window.has(prompt=expected)
    for expected in ("a (red:1.1) ball", "a red ball", "a (red:0.9) ball"):
        window.page.keyboard.press("Control+ArrowDown")
        window.has(prompt=expected)


@pytest.mark.parametrize(
    ("text", "selected", "sign", "result"),
    [
        ("one two", "two", 1, "one (two:1.1)"),
        ("one (two)", "two", 1, "one (two:1.2)"),
        ("one (two three:1.1), four", "three", -1, "one two three, four"),
        ("(a:0.1)", "a", -1, "(a:0)"),
        ("<lora:thing:0.8> x", "thing", 1, "<lora:thing:0.85> x"),
        ("<lora:thing> x", "thing", -1, "<lora:thing:0.95> x"),
        ("a:b c", "a:b", 1, "(a:b:1.1) c"),
        (" ", " ", 1, " "),
    ],
)
def test_weights(window_once: Window, text: str, selected: str, sign: int, result: str) -> None:
    start = text.index(selected)
    given = [text, start, start + len(selected), sign]
    assert window_once.evaluate("given => atelier.prompt.reweigh(...given).text", given) == result


def test_hostile_words_are_shown_as_words_everywhere(window: Window, server: Server, tmp_path: Path) -> None:
    words = " ".join(HOSTILE)
    window.number("steps", 2)
    window.prompt(words)
    window.generate()
    window.made()
    expect(window.text).to_contain_text("<script>alert(2)</script>")
    window.tab("gallery")
    window.page.wait_for_selector("#a-gallery .a-thumb")
    window.tab("txt2img")
    window.prompt(f"{words} raise@1")
    window.number("width", "<img src=x onerror=alert(7)>")
    window.generate()
    expect(window.messages("txt2img")).to_contain_text("onerror")
    window.drop_on_prompt(
        picture_with(f"{words}\nSteps: 2, Sampler: {HOSTILE[0]}, Seed: 1, Size: 64x64", tmp_path / "evil.png")
    )
    expect(window.messages("txt2img").first).to_contain_text("filled")
    window.reload()
    expect(window.text).to_contain_text("<script>alert(2)</script>")
    assert (
        window.evaluate("document.querySelectorAll('main script, main iframe, main b, main svg[onload]').length") == 0
    )
