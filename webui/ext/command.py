"""`launch.py ext`: extensions from the command line. A running server takes changes over at its next start."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from webui.ext.bundled import write_bundled
from webui.ext.check import check_extension
from webui.ext.discover import HOME, READY, Found, discover
from webui.ext.hooks import HOOKS
from webui.ext.install import install, remove
from webui.ext.params import suggest
from webui.ext.specs import ModelFile
from webui.ext.state import ExtState
from webui.ext.sync import carry_out, plan, wanted_packages
from webui.ext.weights import fetch_model, files_of, is_there, size_of
from webui.schema.errors import BadRequest, NotFound

WARNING = "An extension that is switched on can do anything that you can do on this computer."
Ask = Callable[[str], bool]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(_ACTIONS))
    listing = _action(actions, "list", "what there is, and why something does not run")
    listing.add_argument("--hooks", action="store_true", help="the hooks, and who has them in which order")
    check = _action(actions, "check", "import extensions and compare their code with their manifests")
    check.add_argument(
        "folders", type=Path, nargs="*", metavar="FOLDER", help="default: all that come with the program"
    )
    check.add_argument("--bundle", action="store_true", help="then write down that these come with the program")
    _action(actions, "install", "from a folder, a .zip file or a git address").add_argument("source")
    for name, what in (("remove", "delete its folder"), ("enable", "switch on"), ("disable", "switch off")):
        _action(actions, name, what).add_argument("id")
    fetch = _action(actions, "fetch", "download the model files that an extension declares")
    fetch.add_argument("id")
    fetch.add_argument("models", nargs="*", metavar="MODEL", help="default: all of them")
    fetch.add_argument(
        "--models-dir", type=Path, default=HOME.parent / "models", metavar="DIR", help="(default: models)"
    )
    _action(actions, "sync", "install the packages that extensions declare").add_argument(
        "ids", nargs="*", metavar="ID"
    )


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    parser.add_argument(
        "--extensions-dir", type=Path, action="append", default=[], metavar="DIR", help="a further folder"
    )
    parser.add_argument("--data-dir", type=Path, default=HOME.parent / "data", metavar="DIR", help="(default: data)")
    if name in ("enable", "remove", "sync", "fetch"):
        parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def run(parsed: argparse.Namespace, ask: Ask | None = None) -> int:
    """Do what was asked for; returns the exit code. Raises AtelierError."""
    command = Command([HOME, *parsed.extensions_dir], parsed.data_dir, ask or _agree(getattr(parsed, "yes", False)))
    return _ACTIONS[parsed.action](command, parsed)


class Command:
    """One run of `ext`. folders: new extensions go to the last one. ask: puts a question to the user."""

    def __init__(self, folders: Sequence[Path], data_dir: Path, ask: Ask) -> None:
        self._folders = folders
        self._state = ExtState(data_dir)
        self._ask = ask

    def list(self, parsed: argparse.Namespace) -> int:
        found = self._discover()
        _say(_order(found) if parsed.hooks else map(_line, found))
        return 0

    def check(self, parsed: argparse.Namespace) -> int:
        folders = parsed.folders or [one.folder for one in discover([HOME], self._state.choices())]
        faults = {folder: check_extension(folder) for folder in folders}
        _say(f"{folder.name}: {fault}" for folder in folders for fault in faults[folder] or ("all is well.",))
        if any(faults.values()):
            return 1
        if parsed.bundle:
            write_bundled({one.id: one.folder for one in discover([HOME], self._state.choices())})
        return 0

    def install(self, parsed: argparse.Namespace) -> int:
        manifest = install(parsed.source, self._folders[-1])
        _say([f"{manifest.name} {manifest.version} is installed, and off. To switch it on: ext enable {manifest.id}"])
        return 0

    def remove(self, parsed: argparse.Namespace) -> int:
        found = self._find(parsed.id)
        if not found.bundled:
            self._agreed(f"Delete {found.folder}?")
        remove(found)
        self._state.forget(found.id)
        return 0

    def enable(self, parsed: argparse.Namespace) -> int:
        found = self._find(parsed.id)
        allow = not found.bundled and not self._state.choices().of(found.id).allowed
        if allow:
            self._agreed(f"{found.name} does not come with the program. {WARNING} Switch it on?")
        self._state.enable(found.id, allow)
        after = self._find(parsed.id)
        _say([_line(after)])
        return 0 if after.state == READY else 1

    def disable(self, parsed: argparse.Namespace) -> int:
        self._state.disable(self._find(parsed.id).id)
        return 0

    def fetch(self, parsed: argparse.Namespace) -> int:
        manifest = self._find(parsed.id).manifest
        declared = {model.id: model for model in manifest.models} if manifest else {}
        for id in parsed.models:
            if id not in declared:
                raise NotFound(f'"{parsed.id}" declares no model "{id}"{suggest(id, declared)}.')
        chosen = [declared[id] for id in parsed.models or declared]
        missing = [model for model in chosen if not is_there(model, parsed.models_dir)]
        if not missing:
            _say(["Everything that is declared is there."])
            return 0
        _say(_describe(model, parsed.models_dir) for model in missing)
        self._agreed("Download them?")
        for model in missing:
            fetch_model(model, parsed.models_dir, _show_progress if sys.stderr.isatty() else lambda *_: None)
        return 0

    def sync(self, parsed: argparse.Namespace) -> int:
        for id in parsed.ids:
            self._find(id)
        packages = wanted_packages(self._discover(), self._state.choices(), parsed.ids)
        missing = plan(packages)
        if not missing:
            _say(["Everything that is wanted is there."])
            return 0
        _say(["These packages would be installed; none of the program's own is touched:", *missing])
        self._agreed("Install them?")
        carry_out(missing)
        return 0

    def _discover(self) -> tuple[Found, ...]:
        return discover(self._folders, self._state.choices())

    def _find(self, id: str) -> Found:
        found = {one.id: one for one in reversed(self._discover())}  # of several, the one that stands first
        if id not in found:
            raise NotFound(f'There is no extension "{id}"{suggest(id, found)}.', "`ext list` shows what there is.")
        return found[id]

    def _agreed(self, question: str) -> None:
        if not self._ask(question):
            raise BadRequest("Nothing was done.", "Say yes, or give --yes.")


def _line(found: Found) -> str:
    """ "canny 1.0.0  ready  Canny edges"."""
    version = found.manifest.version if found.manifest else ""
    origin = "" if found.bundled else "  (third party)"
    why = f": {found.reason}" if found.reason else ""
    return f"{found.id} {version}".strip() + f"  {found.state}{why}{origin}"


def _describe(model: ModelFile, models_dir: Path) -> str:
    """ "midas  123.4 MB  MIT  from Intel/dpt-hybrid-midas  into models/..."."""
    files = files_of(model, models_dir)
    size = size_of(model)
    words = [
        model.id,
        f"{size / 1e6:,.1f} MB" if size else "size not declared",
        model.license or "license not declared",
    ]
    source = model.repository or files[0].url
    return "  ".join([*words, f"from {source}", f"into {files[0].path.parent}"])


def _show_progress(file: str, there: int, total: int) -> None:
    share = f" of {total / 1e6:,.0f}" if total else ""
    sys.stderr.write(f"\r{file}: {there / 1e6:,.0f}{share} MB   " + ("\n" if there == total else ""))
    sys.stderr.flush()


def _order(found: Sequence[Found]) -> Iterator[str]:
    """ "before_unet(c)  pose, canny" for every hook."""
    for hook in HOOKS:
        owners = [one.id for one in found if one.state == READY and one.manifest and hook.name in one.manifest.hooks]
        yield f"{hook.signature}  {', '.join(owners) or '-'}"


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _agree(yes: bool) -> Ask:
    """Puts a question on the terminal. Without one, the answer is no."""

    def ask(question: str) -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            return False
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")

    return ask


_ACTIONS: Final[Mapping[str, Callable[[Command, argparse.Namespace], int]]] = {
    "list": Command.list,
    "check": Command.check,
    "install": Command.install,
    "remove": Command.remove,
    "enable": Command.enable,
    "disable": Command.disable,
    "fetch": Command.fetch,
    "sync": Command.sync,
}
