"""What must be settled before Gradio is imported: it reads the environment then, and never again."""

from __future__ import annotations

import os
import secrets
import shutil
import warnings
from pathlib import Path

from webui.runtime.files import write_atomically

# Nothing of this program leaves the machine: no counting of starts, no hub, no lookup of newer versions.
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "DO_NOT_TRACK": "1",
}


def prepare(data_dir: Path) -> None:
    """Keep Gradio quiet and let it keep its files below the data folder. What an earlier server left there is removed,
    so this folder must be ours alone by now."""
    cache = (data_dir / "cache").resolve()
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", module=r"gradio\.")  # of its own use of other libraries: nothing for a user
    os.environ.update(QUIET, GRADIO_TEMP_DIR=str(cache), GRADIO_EXAMPLES_CACHE=str(cache / "examples"))


def installation_name(data_dir: Path) -> str:
    """Eight letters that tell this installation from others on the machine: browsers share cookies among ports."""
    file = data_dir / "installation"
    try:
        name = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if not (len(name) == 8 and name.isalnum()):
        name = secrets.token_hex(4)
        write_atomically(file, name.encode())
    return name
