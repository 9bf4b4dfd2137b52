"""docs/toybox.md names files, functions, commands and pictures: they are there."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "toybox.md").read_text(encoding="utf-8")


def source(name):
    path = ROOT / name if "/" in name else ROOT / "models" / "toybox" / name
    return path.read_text(encoding="utf-8")


REFERENCES = re.findall(r"`([\w.]+)` in `([\w/.]+\.py)`", PAGE)


@pytest.mark.parametrize(("name", "file"), REFERENCES)
def test_a_line_that_the_page_points_at_is_there(name, file):
    owner, _, method = name.rpartition(".")
    assert all(
        re.search(rf"^ *(def|class) {part}\b|^{part}\b.* = ", source(file), re.M) for part in (owner, method) if part
    )


def test_every_row_of_a_table_of_equations_points_at_a_line():
    tables = re.findall(r"\| equation \| line \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) >= 8
    assert all(re.search(r"`[\w.]+` in `[\w/.]+\.py` \|$", row) for row in rows)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python -m (models\.toybox.*?)(?:  |`|\n|$)", PAGE))))
def test_a_command_on_the_page_exists_with_its_options(command):
    module, *arguments = command.split()
    spec = importlib.util.find_spec(module if module != "models.toybox" else "models.toybox.__main__")
    assert spec is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    assert "def main()" in text
    assert all(f'"{option}"' in text for option in arguments if option.startswith("--"))


def test_every_picture_of_the_page_is_made_by_the_script():
    script = (ROOT / "docs" / "pictures.py").read_text(encoding="utf-8")
    names = re.findall(r"\]\(images/(\w+)\.png\)", PAGE)
    assert len(names) == 7
    assert all(f'"{name}": {name},' in script for name in names)
