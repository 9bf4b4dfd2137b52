#!/usr/bin/env python3
"""Starts Atelier: makes `.venv` from the pinned versions where that is needed, then runs `webui` in it.

    python3 launch.py [options]            the server; --help lists the options
    python3 launch.py generate ...         pictures from the command line
    python3 launch.py test [--all] [...]   the tests; what follows goes to pytest (-n 0: in one process)

Needs the standard library alone. TORCH_COMMAND replaces the line that installs PyTorch.
"""

import hashlib
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

# Nothing above may need a newer Python than this check can speak to.
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(
        f"Atelier needs Python 3.11, 3.12 or 3.13, and this is Python {sys.version_info[0]}.{sys.version_info[1]} "
        f"({sys.executable}). Start it with another one, for example: python3.12 launch.py"
    )

ROOT = Path(__file__).resolve().parent
RUN, TEST = "run", "test"
# Compared with other implementations in the tests. Its own requirements bring torchvision, which the tests never use.
WITHOUT_REQUIREMENTS = {RUN: (), TEST: ("k-diffusion",)}
# Processes that run tests side by side. Each holds PyTorch, Gradio and small models, so no more than memory allows.
MOST_WORKERS = 4
PROBE = """import importlib.util, json, sysconfig
print(json.dumps([importlib.util.find_spec("pip") is not None, sysconfig.get_path("purelib")]))"""


class SetUpError(Exception):
    """The environment could not be made; the text says why and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


def call(command: list[str]) -> int:
    """Run a program to its end, showing what it prints. Tests put their own in its place."""
    return subprocess.call(command)


class Environment:
    """The virtual environment of one copy of the program.

    A layer is what is installed for one purpose: "run", or "test" on top of it. Its stamp, written when all of it is
    installed, holds a digest of the wanted versions and the names of what was there then.
    """

    def __init__(self, root: Path, torch_command: str = "", call=call) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.torch_command = torch_command
        self._call = call
        self._marker = self.folder / "atelier-installing"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def prepare(self, layers: list[str]) -> None:
        """Install what is missing of these layers, and nothing where nothing is.

        Raises:
            SetUpError: with cause and cure.
        """
        packages = self._packages()
        if packages is None:
            self._create()
            packages = self._packages()
        if packages is None:
            raise SetUpError(f"The new environment {self.folder} does not work. Delete this folder and start again.")
        for layer in layers:
            if not self._is_current(layer, packages):
                self._install(layer)
                self._stamp(layer, packages)

    def _packages(self) -> "Path | None":
        """The folder of the installed packages, or None where the environment is missing or does not work."""
        if self._marker.exists() or not self.python.exists():
            return None
        try:
            answer = subprocess.run([str(self.python), "-I", "-c", PROBE], capture_output=True, timeout=60)
            has_pip, folder = json.loads(answer.stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
        return Path(folder) if has_pip else None

    def _create(self) -> None:
        if importlib.util.find_spec("ensurepip") is None:
            raise SetUpError(
                "This Python cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv"
            )
        if self._marker.exists():
            say("The last installation was interrupted: starting it anew.")
        elif self.folder.exists():
            say(f"The environment {self.folder} does not work: making it anew.")
        else:
            say(f"First start: making a Python environment in {self.folder}.")
        if self._call([sys.executable, "-m", "venv", "--clear", str(self.folder)]) != 0:
            raise SetUpError(f"The environment {self.folder} could not be made; the lines above say why.")

    def _is_current(self, layer: str, packages: Path) -> bool:
        try:
            stamp = json.loads(self._stamp_file(layer).read_text(encoding="utf-8"))
            return stamp["digest"] == self._digest(layer) and set(stamp["installed"]) <= installed(packages)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _stamp(self, layer: str, packages: Path) -> None:
        stamp = {"digest": self._digest(layer), "installed": sorted(installed(packages))}
        self._stamp_file(layer).write_text(json.dumps(stamp), encoding="utf-8")

    def _stamp_file(self, layer: str) -> Path:
        return self.folder / f"atelier-{layer}.json"

    def _digest(self, layer: str) -> str:
        wanted = [self._constraints(), self._requirements(layer), WITHOUT_REQUIREMENTS[layer], self.torch_command]
        return hashlib.sha256(json.dumps(wanted).encode()).hexdigest()

    def _constraints(self) -> str:
        return (self.root / "constraints.txt").read_text(encoding="utf-8")

    def _requirements(self, layer: str) -> list[str]:
        import tomllib

        project = tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))
        if layer == TEST:
            return list(project["dependency-groups"]["test"])
        return [line for line in project["project"]["dependencies"] if name_of(line) != "torch"]

    def _install(self, layer: str) -> None:
        """While this runs a marker lies in the environment: whoever finds it knows that the work was cut off."""
        self._marker.touch()
        try:
            if layer == RUN:
                say(f"Installing PyTorch ({shlex.join(self._torch_words())}). This is the long part.")
                self._try(self._torch_line())
            what = "the other packages" if layer == RUN else "what the tests need"
            say(f"Installing {what} in the versions of constraints.txt.")
            self._pip(self._requirements(layer))
            self._pip([self._pinned(name) for name in WITHOUT_REQUIREMENTS[layer]], "--no-deps")
        except SetUpError:  # pip ended in good order: what is there can be built on
            self._marker.unlink()
            raise
        self._marker.unlink()

    def _torch_words(self) -> list[str]:
        return shlex.split(self.torch_command) or ["pip", "install", self._pinned("torch")]

    def _torch_line(self) -> list[str]:
        words = self._torch_words()
        if Path(words[0]).name in ("pip", "pip3"):
            return [str(self.python), "-m", *words]
        return [str(self.python), *words[1:]] if Path(words[0]).name in ("python", "python3") else words

    def _pip(self, requirements: list[str], *options: str) -> None:
        if requirements:
            quiet = [] if sys.stdout.isatty() else ["--quiet"]
            constraints = ["--constraint", str(self._effective_constraints())]
            command = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check"]
            self._try([*command, *quiet, *constraints, *options, *requirements])

    def _try(self, command: list[str]) -> None:
        if self._call(command) != 0:
            raise SetUpError(
                "The installation failed; the lines above say why. Without a connection to the package index the first "
                "start cannot work; what is installed is kept, so just start again."
            )

    def _effective_constraints(self) -> Path:
        """constraints.txt with the torch that is installed, so that no later line replaces another build of it."""
        probe = "from importlib.metadata import version; print(version('torch'))"
        answer = subprocess.run([str(self.python), "-I", "-c", probe], capture_output=True, text=True)
        lines = [line for line in self._constraints().splitlines() if name_of(line) != "torch"]
        if answer.returncode == 0:
            lines.append(f"torch=={answer.stdout.strip()}")
        path = self.folder / "atelier-constraints.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _pinned(self, name: str) -> str:
        return next(line for line in self._constraints().splitlines() if name_of(line) == name)


def name_of(requirement: str) -> str:
    """ "Pillow>=12" -> "pillow"; a comment or an empty line -> ""."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[._-]+", "-", found[0]).lower() if found else ""


def installed(packages: Path) -> set[str]:
    """The names of what is installed in this folder."""
    return {name_of(entry.split("-")[0]) for entry in os.listdir(packages) if entry.endswith(".dist-info")}


def command_for(arguments: list[str], python: Path, cores: int = 1) -> list[str]:
    """What is run in the environment for these arguments of launch.py, on so many cores."""
    if arguments[:1] != ["test"]:
        return [str(python), "-m", "webui", *arguments]
    given = [argument for argument in arguments[1:] if argument != "--all"]
    chosen = ["-m", ""] if "--all" in arguments else []
    # Only all of the tests take long enough to pay for starting several processes.
    workers = [] if given or cores == 1 else ["-n", str(min(cores, MOST_WORKERS))]
    return [str(python), "-m", "pytest", *chosen, *workers, *given]


def core_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(command: list[str], environment: "dict[str, str]") -> int:
    """Become this program. Where the system cannot do that, wait for it; it hears Ctrl-C itself."""
    sys.stdout.flush()
    if os.name != "nt":
        os.execve(command[0], command, environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.call(command, env=environment)


def variables(testing: bool = False) -> "dict[str, str]":
    """The environment variables of what is run: this copy of the program, wherever it is started from. Tests compute in
    one thread: their tensors are small, and their processes share the cores."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = {"OMP_NUM_THREADS": "1"} if testing else {}
    return {**threads, **os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


def main(arguments: list[str]) -> int:
    testing = arguments[:1] == ["test"]
    environment = Environment(ROOT, os.environ.get("TORCH_COMMAND", ""))
    try:
        environment.prepare([RUN, TEST] if testing else [RUN])
    except SetUpError as error:
        print(f"Atelier: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The next start takes the installation up again.", file=sys.stderr)
        return 130
    if testing:
        os.chdir(ROOT)
    return run(command_for(arguments, environment.python, core_count()), variables(testing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
