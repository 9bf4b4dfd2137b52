"""What every line of the program is held to: linting, types, no pickles, short functions."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST_FUNCTION = 60
# The one place that reads a pickle, in a process of its own and with weights_only=True.
PICKLE_READER = "checkpoints/convert.py"
MAY_PRINT = {"cli.py"}


@cache
def modules() -> list[tuple[str, ast.Module]]:
    """(path below webui/, tree) of every module of the program."""
    home = ROOT / "webui"
    files = sorted(home.rglob("*.py"))
    return [(file.relative_to(home).as_posix(), ast.parse(file.read_text(encoding="utf-8"))) for file in files]


def run(*arguments: str) -> str:
    """What a tool has to say; nothing when it is content."""
    answer = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True)
    return "" if answer.returncode == 0 else answer.stdout + answer.stderr


def name_of(node: ast.expr) -> str:
    """ "a.b.c" of an expression like that."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_ruff_has_nothing_to_say():
    assert run("ruff", "check", "--no-cache", ".") == ""


def test_mypy_has_nothing_to_say():
    assert run("mypy", "webui") == ""


def test_nothing_reads_pickles_but_the_converter():
    readers = {"torch.load", "pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "dill.load", "np.load"}
    found = [
        (path, node)
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name_of(node.func) in readers
    ]
    assert {path for path, _node in found} <= {PICKLE_READER}
    for _path, node in found:
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        assert isinstance(given["weights_only"], ast.Constant)
        assert given["weights_only"].value is True


def test_no_text_is_ever_run():
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name_of(node.func) in {"eval", "exec", "compile", "os.system", "__import__"}
    ]
    assert wrong == []


def test_no_shell_is_started():
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "shell"
    ]
    assert wrong == []


def test_nothing_is_global():
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Global) or (isinstance(node, ast.Call) and name_of(node.func) == "torch.manual_seed")
    ]
    assert wrong == []


def test_library_code_prints_nothing():
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name_of(node.func) == "print" and path not in MAY_PRINT
    ]
    assert wrong == []


def test_no_function_is_longer_than_a_screen():
    wrong = [
        f"{path}:{node.lineno} {node.name}: {length} lines"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert wrong == []


def test_nothing_is_left_for_later():
    wrong = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in sorted((ROOT / "webui").rglob("*.py"))
        for word in ("TODO", "FIXME", "XXX", "NotImplementedError")
        if word in path.read_text(encoding="utf-8")
    ]
    assert wrong == []


def test_importing_the_package_is_cheap():
    program = "import webui, sys; print(sorted({'torch', 'gradio', 'fastapi', 'pydantic'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


WEB = ("webui.cli", "webui.server.serve", "webui.server.app", "webui.ui.page", "webui.engine.client")


def test_the_web_process_needs_no_torch():
    blocked = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None"
    program = f"{blocked}; import {', '.join(WEB)}"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
