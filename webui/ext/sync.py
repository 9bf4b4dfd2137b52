"""Installs the packages that extensions declare, on the user's word and never against the program's own versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from webui.ext.discover import HOME, Found
from webui.ext.state import Choices
from webui.schema.errors import AtelierError

CONSTRAINTS: Final = HOME.parent / "constraints.txt"
Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


class SyncError(AtelierError):
    """The packages that extensions want cannot be installed together with what the program needs."""

    code = "not_synced"
    status = 422


def run_pip(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """pip of this environment, with these arguments."""
    return subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True)


def wanted_packages(found: Sequence[Found], choices: Choices, ids: Sequence[str] = ()) -> tuple[str, ...]:
    """What the extensions that are switched on declare, blocked by it or not; of these ids alone if some are given."""
    on = [one.manifest for one in found if one.manifest and not choices.refusal(one.id, one.bundled)]
    chosen = [manifest for manifest in on if not ids or manifest.id in ids]
    return tuple(sorted({package for manifest in chosen for package in manifest.dependencies.packages}))


def plan(packages: Sequence[str], run: Run = run_pip) -> tuple[str, ...]:
    """What would be installed, as "name==version". Nothing is changed.

    Raises:
        SyncError: it cannot be resolved next to the program's own packages, or not be reached.
    """
    if not packages:
        return ()
    with _constraints() as file:
        answer = run(["install", "--dry-run", "--quiet", "--report", "-", "--constraint", str(file), *packages])
    if answer.returncode != 0:
        raise SyncError(f"These packages cannot be installed: {_last_words(answer.stderr)}", _CURE)
    found = json.loads(answer.stdout)["install"]
    return tuple(f"{one['metadata']['name']}=={one['metadata']['version']}" for one in found)


def carry_out(packages: Sequence[str], run: Run = run_pip) -> None:
    """Install them. Raises SyncError."""
    with _constraints() as file:
        answer = run(["install", "--quiet", "--disable-pip-version-check", "--constraint", str(file), *packages])
    if answer.returncode != 0:
        raise SyncError(f"These packages were not installed: {_last_words(answer.stderr)}", _CURE)


_CURE: Final = "Extensions that cannot have what they want stay blocked; the program itself is as it was."


@contextlib.contextmanager
def _constraints() -> Iterator[Path]:
    """A file that pins the program's packages to what is installed, so that no extension can replace one."""
    names = re.findall(r"^([A-Za-z0-9._-]+)==", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    lines = []
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            lines.append(f"{name}=={importlib.metadata.version(name)}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield file


def _last_words(text: str) -> str:
    errors = [line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR: ")]
    return errors[-1] if errors else (text.strip().splitlines() or ["pip gave no reason."])[-1]
