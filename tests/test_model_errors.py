"""docs/models.md tells every error of model files that the code can raise, in the code's own words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ERRORS = {"ModelError", "NotFound", "UnknownControl"}
PARTS = ("checkpoints", "networks")
CHANGING = "..."
ELSEWHERE = {"webui/checkpoints/convert.py: There is no file"}
"""Said of a name that the user typed: there is nothing to explain."""


def messages() -> Iterator[tuple[str, str]]:
    """(file, message) of every error that is made; what changes in a message is "..."."""
    for part in PARTS:
        for path in sorted((ROOT / "webui" / part).glob("*.py")):
            for call in calls(path, ERRORS):
                if text := words(call.args[0]):
                    yield path.relative_to(ROOT).as_posix(), text


def calls(path: Path, names: set[str]) -> Iterator[ast.Call]:
    """The calls of these names in a file, with arguments."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names and node.args:
            yield node


def words(node: ast.expr) -> str:
    """The text of a message; "" where it is made elsewhere."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else CHANGING for one in node.values)
    return words(node.left) + words(node.right) if isinstance(node, ast.BinOp) else ""


def plain(text: str) -> str:
    """Small letters and single spaces, without marks of the language of the page."""
    return re.sub(r"\s+", " ", re.sub(r"[`\"']", "", text)).lower()


def pieces(message: str) -> list[str]:
    """What does not change in a message, as far as it says something: three words or more, or the longest piece."""
    found = [piece.strip(" .:,;([)]") for piece in plain(message).split(CHANGING)]
    long = [piece for piece in found if len(piece.split()) >= 3]
    return long or [max(found, key=len)]


MESSAGES = sorted(set(messages()))
DOCUMENT = plain((ROOT / "docs" / "models.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "message"), MESSAGES, ids=[message[:40] for _file, message in MESSAGES])
def test_every_error_is_told_in_the_document(file: str, message: str) -> None:
    if any(f"{file}: {message}".startswith(known) for known in ELSEWHERE):
        return
    missing = [piece for piece in pieces(message) if piece not in DOCUMENT]
    assert missing == []


KINDS_FILE = ROOT / "webui" / "checkpoints" / "kinds.py"
KINDS = sorted({words(call.args[0]) for call in calls(KINDS_FILE, {"Kind"})})
FAMILIES = [words(call.args[0]) for call in calls(KINDS_FILE, {"_foreign"})]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind])
def test_every_kind_of_file_is_told_in_the_document(kind: str) -> None:
    whole = kind.removesuffix(" that is not whole")
    assert [piece for piece in pieces(whole) if piece not in DOCUMENT] == []


@pytest.mark.parametrize(
    "family", [words(call.args[0]) for call in calls(ROOT / "webui/checkpoints/kinds.py", {"_foreign"})]
)
def test_every_family_that_is_not_drawn_with_is_told_in_the_document(family: str) -> None:
    assert plain(family) in DOCUMENT


def test_the_errors_are_found_at_all() -> None:
    assert len(MESSAGES) > 60
    assert ("webui/checkpoints/header.py", "... is empty.") in MESSAGES
