"""`launch.py models`: models from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from webui.checkpoints.digests import WHOLE, digest_of
from webui.checkpoints.places import Places
from webui.cli_parser import PROGRAM, Parser
from webui.networks.inventory import Item
from webui.networks.library import Library
from webui.schema.errors import ModelError
from webui.server.model_options import missing_note, places_of
from webui.server.options import add_common_options, add_data_option


def models(arguments: Sequence[str]) -> int:
    """Lists models, and turns pickles into safetensors."""
    parser = Parser(prog=f"{PROGRAM} models", description="Models at hand.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | convert")
    listed = actions.add_parser("list", help="what is there, of every kind, and what is wrong with it")
    add_common_options(listed)
    add_data_option(listed)
    listed.add_argument("--hashes", action="store_true", help="with the sha256 of each; those not known yet are read")
    convert = actions.add_parser("convert", help="write a .ckpt, .pt or .bin as .safetensors beside it")
    convert.add_argument("file", type=Path, help="a path, or what a message calls it: models/Lora/ink.pt")
    add_common_options(convert)
    parsed = parser.parse_args(arguments)
    return _convert(parsed.file, places_of(parsed)) if parsed.action == "convert" else _list(parsed)


def _list(parsed: argparse.Namespace) -> int:
    places = places_of(parsed)
    if missing := missing_note(places):
        sys.stderr.write(f"{missing}\n")
    library = Library.of(places, parsed.data_dir)
    for item in library.items():
        hashed = f"{_short_hash(item, library)}  " if parsed.hashes else ""
        sys.stdout.write(f"{hashed}{item.name}  {item.bytes / 1e6:,.0f} MB  {item.said}\n")
        sys.stdout.flush()
    return 0


def _short_hash(item: Item, library: Library) -> str:
    """Ten digits, as pictures name a checkpoint; strokes where the file cannot be read."""
    try:
        return (item.sha256 or digest_of(item.path, WHOLE, library.memory.cache))[:10]
    except (OSError, ModelError):
        return "-" * 10


def _convert(file: Path, places: Places) -> int:
    from webui.checkpoints.convert import convert_checkpoint

    sys.stdout.write(f"{convert_checkpoint(places.file(file))}\n")
    return 0
