"""`launch.py models`: models from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from webui.cli_parser import PROGRAM, Parser
from webui.server.options import add_common_options


def models(arguments: Sequence[str]) -> int:
    """Lists models, and turns pickles into safetensors."""
    parser = Parser(prog=f"{PROGRAM} models", description="Models at hand.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | convert")
    add_common_options(actions.add_parser("list", help="what is there, of every kind, and what is wrong with it"))
    convert = actions.add_parser("convert", help="write a .ckpt, .pt or .bin as .safetensors beside it")
    convert.add_argument("file", type=Path, help="a path, or what a message calls it: models/Lora/ink.pt")
    add_common_options(convert)
    parsed = parser.parse_args(arguments)
    return _convert(parsed.file, parsed.models_dir) if parsed.action == "convert" else _list(parsed.models_dir)


def _list(models_dir: Path) -> int:
    from webui.networks.inventory import inventory

    for item in inventory(models_dir):
        sys.stdout.write(f"{item.name}  {item.bytes / 1e6:,.0f} MB  {item.said}\n")
    return 0


def _convert(file: Path, models_dir: Path) -> int:
    from webui.checkpoints.convert import convert_checkpoint
    from webui.checkpoints.places import Places

    sys.stdout.write(f"{convert_checkpoint(Places.of(models_dir).file(file))}\n")
    return 0
