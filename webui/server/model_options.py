"""Options that say where models lie, for every command that needs them."""

from __future__ import annotations

import argparse
from pathlib import Path

from webui.checkpoints.places import Extra, Places
from webui.checkpoints.trees import Kind

_KINDS: tuple[tuple[Kind, str, tuple[str, ...]], ...] = (
    ("checkpoint", "checkpoints", ("--ckpt-dir",)),
    ("lora", "LoRA and its kin", ("--lora-dir", "--lyco-dir")),
    ("vae", "VAE files", ("--vae-dir",)),
    ("embedding", "embeddings", ("--embeddings-dir",)),
    ("hypernetwork", "hypernetworks", ("--hypernetwork-dir",)),
    ("controlnet", "control models", ("--controlnet-dir",)),
)
"""A1111's names, which users have in their start scripts."""
_TREES = ("--extra-models-dir", "--forge-ref-a1111-home", "--forge-ref-comfy-home")


def add_model_options(parser: argparse._ActionsContainer, root: Path) -> None:
    """root: of this program, for defaults."""
    parser.add_argument(
        "--models-dir", type=Path, default=root / "models", metavar="DIR",
        help="holds Stable-diffusion and its sisters (default: models)",
    )  # fmt: skip
    parser.add_argument(
        *_TREES, dest="extra_models_dir", type=Path, action="append", default=[], metavar="DIR",
        help="further models, read where they are: a folder like models, or a whole A1111, Forge or ComfyUI; "
        "may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--comfy-paths", type=Path, action="append", default=[], metavar="FILE",
        help="ComfyUI's extra_model_paths.yaml: all folders in it are read; may be repeated",
    )  # fmt: skip
    for kind, plain, names in _KINDS:
        parser.add_argument(
            *names, dest=_destination(kind), type=Path, action="append", default=[], metavar="DIR",
            help=f"a further folder of {plain}; may be repeated",
        )  # fmt: skip


def places_of(parsed: argparse.Namespace) -> Places:
    """Where the options say that models lie.

    Raises:
        BadRequest: a file of --comfy-paths cannot be read.
    """
    folders = {kind: getattr(parsed, _destination(kind)) for kind, _plain, _names in _KINDS}
    return Places(parsed.models_dir, Extra.of(folders, parsed.extra_models_dir, parsed.comfy_paths))


def missing_note(places: Places) -> str:
    """What is said of folders that are not there; "" where all are."""
    missing = ", ".join(map(str, places.missing()))
    return f"Not there now, and read as soon as it is: {missing}" if missing else ""


def _destination(kind: Kind) -> str:
    return f"{kind}_dir"
