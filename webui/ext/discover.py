"""Finds extensions in folders and says of each whether it can run, without importing any of their code."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import webui
from webui.ext import API
from webui.ext.bundled import Hashes, is_bundled, read_bundled
from webui.ext.manifest import Manifest, read_manifest
from webui.ext.order import cycles, needed, running_order
from webui.ext.state import Choices
from webui.schema.errors import ManifestError

State = Literal["ready", "disabled", "blocked", "invalid"]
READY: Final = "ready"
HOME: Final = Path(webui.__file__).resolve().parent.parent / "extensions"
"""The extensions folder of this copy of the program."""


@dataclass(frozen=True)
class Found:
    """A folder that claims to be an extension. reason: why it is not ready, in one line."""

    folder: Path
    id: str
    manifest: Manifest | None
    state: State
    reason: str
    bundled: bool

    @property
    def name(self) -> str:
        return self.manifest.name if self.manifest else self.folder.name


def discover(
    folders: Sequence[Path], choices: Choices, bundled: Mapping[str, Hashes] | None = None
) -> tuple[Found, ...]:
    """All extensions in these folders: the ready ones in running order, then the others by id.

    bundled: what comes with the program; its own list where none is given.
    """
    listed = read_bundled() if bundled is None else bundled
    found = [_read(folder, listed) for folder in _candidates(folders)]
    found = _refuse(found, _twice(found))
    found = [_judge(one, choices) for one in found]
    found = _relations(found)
    order = {id: place for place, id in enumerate(running_order(_ready(found)))}
    return tuple(sorted(found, key=lambda one: (order.get(one.id, len(order)) if one.state == READY else len(order) + 1,
                                                one.id, str(one.folder))))  # fmt: skip


def _candidates(folders: Sequence[Path]) -> Iterator[Path]:
    """The folders in these folders, each once; hidden ones and those that begin with _ are not meant."""
    seen: set[Path] = set()
    for parent in folders:
        if parent.is_dir():
            for folder in sorted(parent.iterdir()):
                if folder.is_dir() and folder.name[0] not in "._" and folder.resolve() not in seen:
                    seen.add(folder.resolve())
                    yield folder


def _read(folder: Path, listed: Mapping[str, Hashes]) -> Found:
    try:
        manifest = read_manifest(folder)
    except ManifestError as error:
        return Found(folder, folder.name, None, "invalid", str(error), bundled=False)
    return Found(folder, manifest.id, manifest, READY, "", is_bundled(folder, listed.get(manifest.id)))


def _twice(found: Sequence[Found]) -> Mapping[Path, str]:
    """Folders whose id another one has too. What comes with the program keeps its id; else nobody gets it."""
    reasons: dict[Path, str] = {}
    for one in found:
        others = [other for other in found if other.id == one.id and other.folder != one.folder and other.manifest]
        if others and one.manifest and not (one.bundled and not any(other.bundled for other in others)):
            reasons[one.folder] = f'the id "{one.id}" is also that of the folder {others[0].folder}'
    return reasons


def _refuse(found: Sequence[Found], reasons: Mapping[Path, str]) -> list[Found]:
    """Those with a reason become blocked."""
    return [
        replace(one, state="blocked", reason=reasons[one.folder]) if one.folder in reasons else one for one in found
    ]


def _judge(one: Found, choices: Choices) -> Found:
    """What can be said of an extension without looking at the others."""
    if one.manifest is None or one.state != READY:
        return one
    if reason := unfit(one.manifest):
        return replace(one, state="blocked", reason=reason)
    if reason := choices.refusal(one.id, one.bundled):
        return replace(one, state="disabled", reason=reason)
    return one


def unfit(manifest: Manifest) -> str:
    """Why this program, Python or its packages do not suit an extension; "" where they do."""
    major, _, minor = manifest.api.partition(".")
    if int(major) != API[0] or int(minor or 0) > API[1]:
        return f"wants extension API {manifest.api}, this program has {API[0]}.{API[1]}"
    python = ".".join(map(str, sys.version_info[:3]))
    for what, wanted, present in (("Python", manifest.python, python), ("Atelier", manifest.webui, webui.__version__)):
        if not SpecifierSet(wanted).contains(present, prereleases=True):
            return f"wants {what} {wanted}, this is {present}"
    return next(filter(None, map(_package_fault, manifest.dependencies.packages)), "")


def _package_fault(text: str) -> str:
    wanted = Requirement(text)
    if wanted.marker is not None and not wanted.marker.evaluate():
        return ""
    try:
        present = version(wanted.name)
    except PackageNotFoundError:
        return f"needs the package {wanted.name}{wanted.specifier}, which is not installed"
    fits = wanted.specifier.contains(present, prereleases=True)
    return "" if fits else f"wants {wanted.name}{wanted.specifier}, installed is {present}"


def _ready(found: Sequence[Found]) -> list[Manifest]:
    return [one.manifest for one in found if one.manifest is not None and one.state == READY]


def _relations(found: list[Found]) -> list[Found]:
    """Block who lacks another extension, conflicts with one, stands in a cycle, or claims what another one has.

    Whoever is blocked may be what another needs, so this is repeated until nothing changes.
    """
    while True:
        ready = {manifest.id: manifest for manifest in _ready(found)}
        reasons = _cycle_reasons(ready) or _need_reasons(ready, found) or _conflict_reasons(ready) or _claims(ready)
        if not reasons:
            return found
        found = _refuse(
            found, {one.folder: reasons[one.id] for one in found if one.state == READY and one.id in reasons}
        )


def _cycle_reasons(ready: Mapping[str, Manifest]) -> Mapping[str, str]:
    ways = cycles(list(ready.values()))
    return {id: f"order: {' waits for '.join((*way, id))}" for id, way in ways.items()}


def _need_reasons(ready: Mapping[str, Manifest], found: Sequence[Found]) -> Mapping[str, str]:
    reasons: dict[str, str] = {}
    states = {one.id: one.state for one in found}
    for manifest in ready.values():
        for text in manifest.dependencies.extensions:
            wanted = Requirement(text)
            other = ready.get(wanted.name)
            if other is None:
                is_so = f"is {states[wanted.name]}" if wanted.name in states else "is not there"
                reasons.setdefault(manifest.id, f'needs the extension "{wanted.name}", which {is_so}')
            elif not wanted.specifier.contains(other.version, prereleases=True):
                reasons.setdefault(manifest.id, f"wants {wanted.name}{wanted.specifier}, present is {other.version}")
    return reasons


def _conflict_reasons(ready: Mapping[str, Manifest]) -> Mapping[str, str]:
    """Who declares a conflict steps back."""
    reasons: dict[str, str] = {}
    for manifest in ready.values():
        for text in manifest.dependencies.conflicts:
            wanted = Requirement(text)
            other = ready.get(wanted.name)
            if other is not None and wanted.specifier.contains(other.version, prereleases=True):
                reasons.setdefault(manifest.id, f'cannot run together with the extension "{wanted.name}"')
    return reasons


def _claims(ready: Mapping[str, Manifest]) -> Mapping[str, str]:
    """A preprocessor's id, and the guidance formula, have one owner: the first in running order."""
    owners: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for id in running_order(list(ready.values())):
        manifest = ready[id]
        claims = [f'the preprocessor "{spec.id}"' for spec in manifest.preprocessors]
        claims += [f'the control adapter "{spec.id}"' for spec in manifest.adapters]
        for claim in claims:
            if owners.setdefault(claim, id) != id:
                reasons.setdefault(id, f'{claim} is already offered by the extension "{owners[claim]}"')
    return reasons


__all__ = ["HOME", "READY", "Found", "State", "discover", "needed", "unfit"]
