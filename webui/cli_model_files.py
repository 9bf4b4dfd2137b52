"""`launch.py models info` and `launch.py models download`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from webui.checkpoints.places import Places
from webui.checkpoints.trees import KINDS, OWN
from webui.schema.errors import BadRequest, NotFound

TOKEN = "ATELIER_TOKEN"
LINE = 0.2
"""Seconds between two lines of progress."""


def add_download(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", metavar="WHAT",
        help="an https address, or a repository of the Hugging Face hub: owner/name, owner/name/path/file.safetensors",
    )  # fmt: skip
    folders = ", ".join(OWN[kind][0] for kind in KINDS)
    parser.add_argument(
        "--to", default="", metavar="KIND/FOLDER", help=f"where it belongs (default: what it is tells): {folders}"
    )
    parser.add_argument("--name", default="", metavar="NAME", help="of the file (default: what the server calls it)")
    parser.add_argument("--sha256", default="", metavar="HEX", help="what the file must be; the hub tells it by itself")
    parser.add_argument("--revision", default="", metavar="NAME", help="a branch, tag or commit of the repository")
    parser.add_argument("--variant", default="", metavar="NAME", help="of a model folder's weights: fp16, plain, ...")
    parser.add_argument(
        "--convert", action="store_true", help="turn a pickle into safetensors, in a process of its own"
    )
    parser.add_argument(
        "--token", default="", metavar="TOKEN",
        help=f"for the address's host alone. Other users of this machine can read it: the variables {TOKEN}, HF_TOKEN "
        "and CIVITAI_TOKEN are better",
    )  # fmt: skip
    parser.add_argument("--offline", action="store_true", help="ask nothing of the network")


def add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="NAME|FILE", help="a name as `models list` has it, or the path of a file")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--hash", action="store_true", help="read the whole file for its sha256")


def run_download(parsed: argparse.Namespace, places: Places) -> int:
    """Fetches a model and says where it is."""
    from webui.fetch.web import Web, wants_offline
    from webui.modelfiles.download import download
    from webui.modelfiles.order import Order

    if parsed.sha256 and len(parsed.sha256) != 64:
        raise BadRequest("A sha256 has 64 digits and letters from a to f.", "Copy it whole.")
    names = ("what", "to", "sha256", "revision", "name", "variant", "convert")
    order = Order(**{name: getattr(parsed, name) for name in names})
    web = Web(offline=parsed.offline or wants_offline(), private=True, tokens=_tokens(parsed))
    made = download(order, places, web, _Line().show if sys.stderr.isatty() else lambda *_: None)
    sys.stdout.write(f"{made.said}\n{made.path}\n")
    return 0


def run_info(parsed: argparse.Namespace, places: Places) -> int:
    """Tells everything of a model file."""
    from webui.checkpoints.digests import WHOLE, digest_of
    from webui.modelfiles.info import inform
    from webui.networks.library import Library

    library = Library.of(places, parsed.data_dir)
    item = _item(parsed.model, library)
    told = inform(item)
    sha256 = digest_of(item.path, WHOLE, library.memory.cache) if parsed.hash else item.sha256
    whole = {"name": item.name, "path": str(item.path), "error": item.error, "sha256": sha256, **asdict(told)}
    text = json.dumps(whole, indent=2, ensure_ascii=False) if parsed.json else "\n".join(_lines(whole))
    sys.stdout.write(f"{text}\n")
    return 0


def _tokens(parsed: argparse.Namespace) -> dict[str, str]:
    from webui.fetch.hub import endpoint_of, known_tokens

    found = known_tokens()
    given = parsed.token or os.environ.get(TOKEN, "")
    host = urlsplit(parsed.what if "://" in parsed.what else endpoint_of()).hostname
    return {**found, host: given} if given and host else found


def _item(name: str, library: Any) -> Any:
    """The file of this name, or at this path, whatever kind it is. Raises NotFound."""
    items = library.items()
    path = Path(name).expanduser()
    if path.exists():
        here = [item for item in items if item.path.exists() and item.path.samefile(path)]
        if here:
            return here[0]
        raise NotFound(f"{path} lies in no folder of models.", "Name its tree with --extra-models-dir, or move it.")
    low = name.lower()
    for called in (lambda item: item.name, lambda item: item.file, lambda item: item.name.rpartition("/")[2]):
        found = [item for item in items if called(item).lower() == low]
        if found:
            return found[0]
    near = ", ".join([item.name for item in items if low in item.name.lower()][:5])
    raise NotFound(f"There is no model {name!r}.", f"Is it one of: {near}?" if near else "`models list` shows them.")


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What is told, line by line; what is not known is left out."""
    note = told["note"]
    flat: dict[str, Any] = {
        "name": told["name"], "file": told["path"], "wrong": told["error"], "guess": told["guess"], **told["facts"],
        "sha256": told["sha256"] or "", "read with": ", ".join(told["beside"]), **told["training"],
        "trigger words": ", ".join(told["triggers"]),
        "tags": ", ".join(f"{tag} ({count})" for tag, count in told["tags"]),
        **{f"your {name}": text for name, text in note.items() if text and name not in ("activation", "link")},
        "page": note["link"], "not understood": ", ".join(told["unread"]),
        "missing": ", ".join(told["missing"]),
    }  # fmt: skip
    flat |= {name: text for name, text in told["metadata"].items() if name.startswith("modelspec.")}
    wide = max(len(name) for name in flat)
    for name, value in flat.items():
        if value not in ("", None, False):
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
            yield f"{name.replace('_', ' '):{wide}}  {'yes' if value is True else shown}"


class _Line:
    """One line of the terminal that tells how far a download is."""

    def __init__(self) -> None:
        self._began, self._last, self._first = time.monotonic(), 0.0, -1

    def show(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        self._first = done if self._first < 0 else self._first
        if now - self._last < LINE and done != total:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._began, 0.1)
        of = f" of {total / 1e6:,.0f}" if total else ""
        sys.stderr.write(f"\r{name}: {done / 1e6:,.0f}{of} MB, {rate / 1e6:.1f} MB/s   ")
        sys.stderr.write("\n" if total and done >= total else "")
        sys.stderr.flush()
