"""Names of model files, and what is said of those that cannot be used."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from webui.checkpoints.header import PICKLES
from webui.checkpoints.trees import shown_path
from webui.schema.errors import ModelError

HASH_IN_NAME = re.compile(r"\s*\[([0-9a-fA-F]{6,64})\]\s*$")
"""The end of a name as A1111 shows it: "name [a1b2c3d4]"."""


def near(name: str, known: Sequence[str], first: int = 0) -> str:
    """Names that are like this one, as "a, b, c"; where none is, the first so many."""
    return ", ".join(difflib.get_close_matches(name, known, 3, 0.4) or known[:first])


def refuse_pickle(path: Path) -> None:
    """Raises ModelError where a file is a pickle."""
    if path.suffix.lower() in PICKLES:
        raise ModelError(
            f"{path.name} is a pickle, which could run foreign code; it was not opened.",
            f"Convert it: python3 launch.py models convert {shlex.quote(shown_path(path))}",
        )
