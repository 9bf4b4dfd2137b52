"""Every example of docs/prompts.md does what stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from webui.prompt.grammar import read_prompt
from webui.prompt.parse import parse_attention
from webui.prompt.schedule import Clock
from webui.prompt.wildcards import expand

PAGE = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")
EXAMPLES = [block.split("\n") for block in re.findall(r"^```\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)]
STEPS = 4


def no_files(name: str) -> list[str]:
    raise AssertionError(name)


def meaning(prompt: str, what: str) -> str:
    """What the program makes of a prompt, in the words of the page."""
    read = read_prompt(prompt)
    if what.isdecimal():
        parts = read.at(int(what) - 1, Clock(STEPS))
        several = len(parts) > 1
        return " AND ".join(f"{text.strip()} × {weight:g}" if several else text for text, weight in parts).strip()
    if what == "weights":
        return ", ".join(
            f"{part.text.strip()} @{part.weight:g}" for part in parse_attention(prompt) if part.text.strip()
        )
    if what == "networks":
        return " ".join(map(str, read.tags))
    assert what == "one of"
    return " / ".join(sorted({expand(prompt, no_files, seed) for seed in range(100)}))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda lines: lines[0])
def test_an_example_does_what_stands_there(example: list[str]) -> None:
    prompt = "\n".join(line for line in example if not line.startswith("→"))
    claims = [line.removeprefix("→ ").partition(":") for line in example if line.startswith("→")]
    assert claims
    notes = read_prompt(prompt).notes + read_prompt(prompt).unreached(STEPS)
    for what, _, said in claims:
        if what == "note":
            assert any(said.strip() in note for note in notes)
        else:
            expected = " / ".join(sorted(said.strip().split(" / "))) if what == "one of" else said.strip()
            assert meaning(prompt, what) == expected
    assert bool(notes) == any(what == "note" for what, _, _ in claims)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 10
