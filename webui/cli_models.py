"""`launch.py models`: models from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from webui.checkpoints.digests import WHOLE, digest_of
from webui.checkpoints.trees import Kind, shown_home
from webui.cli_model_files import add_download, add_info, run_download, run_info
from webui.cli_parser import PROGRAM, Parser
from webui.networks.inventory import LISTED, Item
from webui.networks.library import Library
from webui.networks.strays import strays
from webui.schema.errors import ModelError
from webui.server.model_options import missing_note, places_of
from webui.server.options import add_common_options, add_data_option


def models(arguments: Sequence[str]) -> int:
    """Lists models, tells of one, fetches new ones, and turns pickles into safetensors."""
    parser = Parser(prog=f"{PROGRAM} models", description="Models at hand.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | info | download | convert")
    listed = actions.add_parser("list", help="what is there, of every kind, and what is wrong with it")
    add_common_options(listed)
    add_data_option(listed)
    listed.add_argument("--hashes", action="store_true", help="with the sha256 of each; those not known yet are read")
    info = actions.add_parser("info", help="everything that is known of a model file")
    download = actions.add_parser("download", help="fetch a model from an address or the Hugging Face hub")
    for action, add in ((info, add_info), (download, add_download)):
        add(action)
        add_common_options(action)
        add_data_option(action)
    convert = actions.add_parser("convert", help="write a .ckpt, .pt or .bin as .safetensors beside it")
    convert.add_argument("file", type=Path, help="a path, or what a message calls it: models/Lora/ink.pt")
    add_common_options(convert)
    parsed = parser.parse_args(arguments)
    return _ACTIONS[parsed.action](parsed)


def _list(parsed: argparse.Namespace) -> int:
    places = places_of(parsed)
    if missing := missing_note(places):
        sys.stderr.write(f"{missing}\n")
    library = Library.of(places, parsed.data_dir)
    for kind in LISTED:
        items = library.items((kind,))
        if items:
            _write(f"{_TITLES.get(kind, kind)} ({shown_home(kind)})")
        for item in items:
            hashed = f"{_short_hash(item, library)}  " if parsed.hashes else ""
            _write(f"  {hashed}{item.name}  {item.bytes / 1e6:,.0f} MB  {'! ' if item.error else ''}{item.said}")
    unread = list(strays(places))
    if unread:
        _write("Not listed")
    for stray in unread:
        _write(f"  {stray.path}  {stray.said}")
    return 0


_TITLES: Mapping[Kind, str] = {
    "checkpoint": "Checkpoints", "vae": "VAE files", "vae_approx": "Tiny autoencoders", "lora": "Networks",
    "embedding": "Embeddings", "hypernetwork": "Hypernetworks", "controlnet": "Control models",
}  # fmt: skip


def _write(line: str) -> None:
    plain = line.encode(errors="replace").decode()  # names of files may be of any bytes
    sys.stdout.write(f"{plain}\n")
    sys.stdout.flush()


def _short_hash(item: Item, library: Library) -> str:
    """Ten digits, as pictures name a checkpoint; strokes where the file cannot be read."""
    try:
        return (item.sha256 or digest_of(item.path, WHOLE, library.memory.cache))[:10]
    except (OSError, ModelError):
        return "-" * 10


def _convert(parsed: argparse.Namespace) -> int:
    from webui.checkpoints.convert import convert_checkpoint

    sys.stdout.write(f"{convert_checkpoint(places_of(parsed).file(parsed.file))}\n")
    return 0


_ACTIONS = {
    "list": _list, "info": lambda parsed: run_info(parsed, places_of(parsed)), "convert": _convert,
    "download": lambda parsed: run_download(parsed, places_of(parsed)),
}  # fmt: skip
