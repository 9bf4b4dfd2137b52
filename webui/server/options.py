"""The options of the server, and those that every command shares."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import webui
from webui.checkpoints.places import Places
from webui.fetch.web import wants_offline
from webui.schema.memory import VramMode
from webui.schema.names import PREVIEW_METHODS, PreviewMethod
from webui.schema.storage import UNET_STORAGES, UnetStorage
from webui.server.memory_options import add_memory_options
from webui.server.model_options import add_model_options, places_of

ROOT = Path(webui.__file__).resolve().parent.parent
PORT = 7860
DEVICES = "auto, cpu, cuda, cuda:1, mps"
DTYPES = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class ServeOptions:
    """What the user asked for."""

    listen: str | None
    port: int
    share: bool
    share_required: bool
    share_server: str | None
    share_certificate: Path | None
    share_insecure: bool
    auth: tuple[str, ...]
    auth_file: Path | None
    no_auth: bool
    allowed_host: tuple[str, ...]
    places: Places
    output_dir: Path
    data_dir: Path
    device: str
    dtype: str
    unet_storage: UnetStorage
    vram: VramMode
    gpu_memory: float
    memory: float
    preview: PreviewMethod
    default_model: str
    extensions_dir: tuple[Path, ...]
    no_hashing: bool
    offline: bool
    allow_remote_extensions: bool
    open_browser: bool

    @property
    def exposed(self) -> bool:
        """Whether others than this machine's users can reach the server."""
        return self.share or self.share_required or self.listen is not None

    @classmethod
    def of(cls, parsed: argparse.Namespace) -> ServeOptions:
        """Raises BadRequest where a file of paths cannot be read."""
        plain = (name for name in cls.__dataclass_fields__ if name != "places")
        given: dict[str, Any] = {name: getattr(parsed, name) for name in plain}
        given["places"] = places_of(parsed)
        given["offline"] = parsed.offline or wants_offline()
        lists = {name: tuple(given[name]) for name in ("auth", "allowed_host", "extensions_dir")}
        return cls(**{**given, **lists})


def add_serve_options(parser: argparse.ArgumentParser) -> None:
    _add_network(parser.add_argument_group("network"))
    _add_login(parser.add_argument_group("login"))
    folders = parser.add_argument_group("folders and device")
    add_common_options(folders)
    add_data_option(folders)
    add_memory_options(parser.add_argument_group("memory"))
    folders.add_argument(
        "--preview", default="auto", choices=PREVIEW_METHODS,
        help="what shows a picture while it is drawn: tiny (an autoencoder in models/VAE-approx), linear (a map of "
        "colours) or none (default: auto, which is tiny where there is one)",
    )  # fmt: skip
    folders.add_argument("--default-model", default="", metavar="NAME", help="what a request that names no model means")
    folders.add_argument(
        "--no-hashing", action="store_true",
        help="do not read all model files in the background to know them by their sha256: only those that are used",
    )  # fmt: skip
    _add_extensions(parser.add_argument_group("extensions"))
    parser.add_argument("--open-browser", action="store_true", help="open the page when it is ready")


def add_common_options(parser: argparse._ActionsContainer) -> None:
    """Folders and device: of every command."""
    add_model_options(parser, ROOT)
    parser.add_argument(
        "--output-dir", type=Path, default=ROOT / "outputs", metavar="DIR",
        help="where pictures are saved (default: outputs)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help=f"{DEVICES} (default: auto)")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, help="number format of the models (default: auto)")
    parser.add_argument(
        "--unet-storage", default="auto", choices=UNET_STORAGES,
        help="how the U-Net's weights lie in memory: dtype: as the models work; file: as dtype, but what a file has in "
        "8 bits stays so; float8: in 8 bits, which takes half of float16 and changes pictures; float8-sdxl: the same "
        "for SDXL alone; auto: file on a GPU, else dtype (default: auto)",
    )  # fmt: skip


def add_data_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--data-dir", type=Path, default=ROOT / "data", metavar="DIR", help="the program's own data (default: data)"
    )


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--listen", nargs="?", const="0.0.0.0", metavar="ADDRESS",
        help="be reachable from other machines, at all addresses of this one or at the one given",
    )  # fmt: skip
    group.add_argument(
        "--port", type=int, default=PORT, help=f"a taken one is replaced by the next free one (default: {PORT})"
    )
    group.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME",
        help="a further name under which the server is reached, for example that of a proxy; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--offline", action="store_true", help="ask nothing of the network: no downloads (also HF_HUB_OFFLINE=1)"
    )
    group.add_argument("--share", action="store_true", help="a public Gradio link, for a week at most")
    group.add_argument(
        "--share-required", action="store_true", help="as --share; end with exit code 3 where there can be no link"
    )
    group.add_argument("--share-server", metavar="HOST:PORT", help="a tunnel server of your own instead of Gradio's")
    group.add_argument("--share-certificate", type=Path, metavar="FILE", help="the authority of that server")
    group.add_argument("--share-insecure", action="store_true", help="do without encryption to that server")


def _add_extensions(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--extensions-dir", type=Path, action="append", default=[], metavar="DIR",
        help="a further folder of extensions; may be repeated, and new ones are installed into the last",
    )  # fmt: skip
    group.add_argument(
        "--allow-remote-extensions", action="store_true",
        help="let extensions be installed and switched even where others can reach the server: who logs in may then "
        "run any program on this machine",
    )  # fmt: skip


def _add_login(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--auth", action="append", default=[], metavar="USER:PASSWORD",
        help="who may log in; may be repeated, or hold several with commas between. Other users of this machine can "
        "read it: a file or the variable ATELIER_AUTH is better",
    )  # fmt: skip
    group.add_argument("--auth-file", type=Path, metavar="FILE", help="a file of user:password lines")
    group.add_argument(
        "--no-auth", action="store_true", help="no login even where others can reach the server: anybody may use it"
    )
