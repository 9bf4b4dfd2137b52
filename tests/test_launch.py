"""The start on a fresh clone: what is installed, when nothing is, and what a user is told."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = """[project]
dependencies = ["torch>=2.9", "gradio>=6", "numpy"]
[dependency-groups]
test = ["pytest>=8"]
"""
CONSTRAINTS = "# a comment\ngradio==6.31.0\nk-diffusion==0.1.1.post1\nnumpy==2.4.6\npytest==9.2.0\ntorch==2.13.0\n"
PROGRAM = """import json, os, sys, time
print(json.dumps({"arguments": sys.argv[1:], "where": __file__, "folder": os.getcwd()}), flush=True)
if "--wait" in sys.argv:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(42)
sys.exit(7 if "--fail" in sys.argv else 0)
"""


@pytest.fixture(scope="module")
def launch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("launch", ROOT / "launch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Pip:
    """Stands for everything launch.py runs: makes the environment's folders and notes the rest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lines: list[str] = []
        self.fails_at = ""
        self.interrupted_at = ""

    def __call__(self, command: list[str]) -> int:
        line = " ".join(command[1:])
        if self.interrupted_at and self.interrupted_at in line:
            raise KeyboardInterrupt
        if self.fails_at and self.fails_at in line:
            return 1
        self.lines.append(line)
        if command[1:3] == ["-m", "venv"]:
            self._make_environment()
        return 0

    @property
    def packages(self) -> Path:
        return self.root / ".venv" / "packages"

    def _make_environment(self) -> None:
        shutil.rmtree(self.root / ".venv", ignore_errors=True)
        python = self.root / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        self.packages.mkdir(exist_ok=True)
        (self.packages / "numpy-2.4.6.dist-info").mkdir(exist_ok=True)
        answer = json.dumps([True, str(self.packages)])
        python.write_text(f"#!/bin/sh\ncase \"$3\" in *torch*) echo 2.13.0+cpu;; *) echo '{answer}';; esac\n")
        python.chmod(0o755)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "constraints.txt").write_text(CONSTRAINTS)
    return tmp_path


@pytest.fixture
def pip(root: Path) -> Pip:
    return Pip(root)


def test_launch_can_be_read_by_pythons_as_old_as_3_6():
    ast.parse((ROOT / "launch.py").read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("version", [(3, 6), (3, 10), (3, 14)])
def test_another_python_gets_one_clear_line(version: tuple[int, int]):
    program = f"import sys; sys.version_info = {(*version, 0)}; exec(open('launch.py').read())"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert answer.stderr.startswith(f"Atelier needs Python 3.11, 3.12 or 3.13, and this is Python 3.{version[1]} (")


def test_launch_imports_nothing_but_the_standard_library():
    tree = ast.parse((ROOT / "launch.py").read_text())
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imports |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imports} <= sys.stdlib_module_names


def test_a_first_start_installs_torch_first_and_the_rest_by_the_constraints(launch, root: Path, pip: Pip):
    launch.Environment(root, call=pip).prepare(["run"])
    assert [line.split("install ")[-1].split()[-1] for line in pip.lines[1:]] == ["torch==2.13.0", "numpy"]
    assert pip.lines[0].startswith("-m venv")
    assert f"--constraint {root}/.venv/atelier-constraints.txt gradio>=6 numpy" in pip.lines[2]
    assert "torch==2.13.0+cpu" in (root / ".venv/atelier-constraints.txt").read_text()


def test_a_second_start_installs_nothing(launch, root: Path, pip: Pip):
    launch.Environment(root, call=pip).prepare(["run"])
    pip.lines.clear()
    launch.Environment(root, call=pip).prepare(["run"])
    assert pip.lines == []


def test_another_pinned_version_is_installed_at_the_next_start(launch, root: Path, pip: Pip):
    launch.Environment(root, call=pip).prepare(["run"])
    pip.lines.clear()
    (root / "constraints.txt").write_text(CONSTRAINTS.replace("6.31.0", "6.31.1"))
    launch.Environment(root, call=pip).prepare(["run"])
    assert len(pip.lines) == 2
    assert not any("venv --clear" in line for line in pip.lines)


def test_a_package_that_went_missing_is_installed_again(launch, root: Path, pip: Pip):
    launch.Environment(root, call=pip).prepare(["run"])
    pip.lines.clear()
    (pip.packages / "numpy-2.4.6.dist-info").rmdir()
    launch.Environment(root, call=pip).prepare(["run"])
    assert len(pip.lines) == 2


def test_an_environment_whose_python_is_gone_is_made_anew(launch, root: Path, pip: Pip):
    launch.Environment(root, call=pip).prepare(["run"])
    (root / ".venv/bin/python").unlink()
    pip.lines.clear()
    launch.Environment(root, call=pip).prepare(["run"])
    assert "venv --clear" in pip.lines[0]
    assert len(pip.lines) == 3


def test_an_environment_whose_python_does_not_run_is_made_anew(launch, root: Path, pip: Pip):
    launch.Environment(root, call=pip).prepare(["run"])
    (root / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    pip.lines.clear()
    launch.Environment(root, call=pip).prepare(["run"])
    assert "venv --clear" in pip.lines[0]


def test_an_interrupted_installation_is_begun_anew(launch, root: Path, pip: Pip):
    pip.interrupted_at = "gradio"
    with pytest.raises(KeyboardInterrupt):
        launch.Environment(root, call=pip).prepare(["run"])
    pip.lines.clear()
    pip.interrupted_at = ""
    launch.Environment(root, call=pip).prepare(["run"])
    assert "venv --clear" in pip.lines[0]
    assert len(pip.lines) == 3


def test_a_failed_installation_is_taken_up_where_it_was(launch, root: Path, pip: Pip):
    pip.fails_at = "gradio"
    with pytest.raises(launch.SetUpError, match="package index"):
        launch.Environment(root, call=pip).prepare(["run"])
    pip.lines.clear()
    pip.fails_at = ""
    launch.Environment(root, call=pip).prepare(["run"])
    assert len(pip.lines) == 2
    assert "venv --clear" not in pip.lines[0]


def test_torch_command_replaces_the_torch_line(launch, root: Path, pip: Pip):
    command = 'pip install "torch==2.12.0" --index-url https://example.org/whl'
    launch.Environment(root, command, call=pip).prepare(["run"])
    assert pip.lines[1] == "-m pip install torch==2.12.0 --index-url https://example.org/whl"
    assert not any("install torch==2.13.0" in line for line in pip.lines)


def test_tests_bring_their_own_packages_and_k_diffusion_without_its_requirements(launch, root: Path, pip: Pip):
    launch.Environment(root, call=pip).prepare(["run"])
    pip.lines.clear()
    launch.Environment(root, call=pip).prepare(["run", "test"])
    assert len(pip.lines) == 2
    assert pip.lines[0].endswith("atelier-constraints.txt pytest>=8")
    assert pip.lines[1].endswith("--no-deps k-diffusion==0.1.1.post1")


def test_the_first_word_decides_what_is_run(launch):
    python = Path("/p")
    assert launch.command_for([], python) == ["/p", "-m", "webui"]
    assert launch.command_for(["generate", "--steps", "2"], python) == ["/p", "-m", "webui", "generate", "--steps", "2"]
    assert launch.command_for(["test", "-k", "x"], python) == ["/p", "-m", "pytest", "-k", "x"]
    assert launch.command_for(["test", "--all", "-x"], python) == ["/p", "-m", "pytest", "-m", "", "-x"]


def test_all_tests_run_on_several_cores_and_chosen_ones_in_one_process(launch):
    python = Path("/p")
    assert launch.command_for(["test"], python, 1) == ["/p", "-m", "pytest"]
    assert launch.command_for(["test"], python, 2) == ["/p", "-m", "pytest", "-n", "2"]
    assert launch.command_for(["test", "--all"], python, 64) == ["/p", "-m", "pytest", "-m", "", "-n", "4"]
    assert launch.command_for(["test", "-n", "0"], python, 8) == ["/p", "-m", "pytest", "-n", "0"]
    assert launch.command_for(["test", "tests/nn"], python, 8) == ["/p", "-m", "pytest", "tests/nn"]


def test_tests_compute_in_one_thread_unless_told_otherwise(launch, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "OMP_NUM_THREADS" not in launch.variables()
    assert launch.variables(testing=True)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert launch.variables(testing=True)["OMP_NUM_THREADS"] == "3"


def test_every_requirement_of_the_project_is_pinned_and_no_index_is_named(launch):
    text = (ROOT / "constraints.txt").read_text()
    pinned = {launch.name_of(line) for line in text.splitlines()}
    environment = launch.Environment(ROOT)
    wanted = [*environment._requirements("run"), *environment._requirements("test"), "k-diffusion"]
    assert {launch.name_of(line) for line in wanted} <= pinned
    assert "torch==2.13.0" in text.splitlines()
    assert "://" not in text
    assert all(line.startswith("#") or line.count("==") == 1 for line in text.splitlines())


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program that needs no package: a real environment, and a `webui` that says how it was called."""
    root = tmp_path_factory.mktemp("clone")
    (root / "launch.py").write_text((ROOT / "launch.py").read_text())
    (root / "pyproject.toml").write_text('[project]\ndependencies = ["torch"]\n[dependency-groups]\ntest = []\n')
    (root / "constraints.txt").write_text("torch==2.13.0\n")
    (root / "webui").mkdir()
    # without this file a package of the same name that stands later in PYTHONPATH would win
    (root / "webui" / "__init__.py").touch()
    (root / "webui" / "__main__.py").write_text(PROGRAM)
    answer = start(root)
    assert answer.returncode == 0, answer.stderr
    assert "First start" in answer.stdout
    return root


def start(root: Path, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TORCH_COMMAND": "python -c pass"}
    command = [sys.executable, str(root / "launch.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder or root)


def test_arguments_folder_and_exit_code_go_through(clone: Path, tmp_path: Path):
    (tmp_path / "webui").mkdir()
    answer = start(clone, "--port", "1", "--fail", folder=tmp_path)
    told = json.loads(answer.stdout)
    assert told["arguments"] == ["--port", "1", "--fail"]
    assert told["where"] == str(clone / "webui" / "__main__.py")
    assert told["folder"] == str(tmp_path)
    assert answer.returncode == 7


def test_a_later_start_says_nothing_and_runs_the_program_at_once(clone: Path):
    answer = start(clone)
    assert answer.stdout.count("\n") == 1
    assert answer.stderr == ""


def test_ctrl_c_reaches_the_program(clone: Path):
    environment = {**os.environ, "TORCH_COMMAND": "python -c pass"}
    command = [sys.executable, str(clone / "launch.py"), "--wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 42
