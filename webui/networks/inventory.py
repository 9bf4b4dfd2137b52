"""Model files of all kinds as lists show them: the command line, the page, REST. No torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from webui.checkpoints.cache import ModelCache
from webui.checkpoints.control_catalogue import ControlModel
from webui.checkpoints.digests import WHOLE
from webui.checkpoints.files import Stamp
from webui.checkpoints.forms import Entry
from webui.checkpoints.places import Place
from webui.checkpoints.tiny import TinyFile
from webui.checkpoints.trees import Kind
from webui.checkpoints.vaes import VAEFile
from webui.networks.catalogue import NetworkFile
from webui.networks.embeddings import EmbeddingFile
from webui.networks.family import FAMILY_NAMES, FOREIGN, OTHER
from webui.networks.hypernetworks import HypernetworkFile
from webui.schema.results import ModelInfo

Found = ModelInfo | VAEFile | TinyFile | NetworkFile | EmbeddingFile | HypernetworkFile | ControlModel


@dataclass(frozen=True)
class Item:
    """A file or model folder.

    name: as prompts and lists call it. path: for the server alone, never for a client. type: "LoRA", "ControlNet", ...;
    family: of checkpoints, "sd1"; "" where it does not tell. said: what it is in words, or what is wrong with it, which
    is `error`. entry: what its catalogue says.
    """

    kind: Kind
    name: str
    path: Path
    place: Place
    stamp: Stamp
    type: str
    family: str
    said: str
    error: str
    sha256: str | None
    entry: Found

    @cached_property
    def id(self) -> str:
        """Stands for it where a path may not be told; the same as long as it lies where it lies."""
        return hashlib.sha256(f"{self.kind}\0{self.path}".encode()).hexdigest()[:16]

    @property
    def file(self) -> str:
        """The path below its place, with the ending."""
        below = str(self.path)[len(os.path.abspath(self.place.folder)) :]
        return below.strip(os.sep).replace(os.sep, "/")

    @property
    def where(self) -> str:
        """What its place is called."""
        return self.place.label

    @property
    def own(self) -> bool:
        """Whether it is in the program's own tree, which may be written to."""
        return self.place.own

    @property
    def bytes(self) -> int:
        return self.stamp[1]

    @property
    def modified(self) -> float:
        """Seconds since 1970."""
        return self.stamp[0] / 1e9

    @property
    def family_name(self) -> str:
        return FAMILY_NAMES.get(self.family, self.family)


def item_of(kind: Kind, entry: Entry[Any], cache: ModelCache) -> Item:
    """A listed file of a kind, as all lists show it."""
    found: Found = entry.item
    type, family, said, error = _TOLD[kind](found)
    digest = cache.digest(str(entry.path), WHOLE, entry.stamp[:2])
    return Item(
        kind, entry.name, entry.path, entry.place, entry.stamp, type, family, error or said, error, digest, found,
    )  # fmt: skip


Told = tuple[str, str, str, str]
"""Type, family, what is said of it, what is wrong with it."""


def _checkpoint(found: ModelInfo) -> Told:
    extra = "" if found.extra in ("", "none") else f", {_EXTRAS.get(found.extra, found.extra)}"
    v = ", v-prediction" if found.prediction == "v" else ""
    said = f"{_told('checkpoint', found.family)}{extra}{v}{f', {found.variant}' if found.variant else ''}"
    return "checkpoint", found.family, said, found.error


def _vae(found: VAEFile) -> Told:
    return "VAE", "", "VAE", found.error


def _tiny(found: TinyFile) -> Told:
    return "tiny autoencoder", "sdxl" if found.sdxl else "", found.said, found.error


def _network(found: NetworkFile) -> Told:
    return _of(found.info.kind, found.info.family) if found.info else ("LoRA", "", "", found.error)


def _embedding(found: EmbeddingFile) -> Told:
    if found.info is None:
        return "embedding", "", "", found.error
    count = found.info.vectors
    plain = "embedding, 1 vector" if count == 1 else f"embedding, {count} vectors"
    return "embedding", found.info.family, _told(plain, found.info.family), ""


def _hypernetwork(found: HypernetworkFile) -> Told:
    return _of("hypernetwork", found.info.family) if found.info else ("hypernetwork", "", "", found.error)


def _control(found: ControlModel) -> Told:
    return (*_of(found.kind, found.family)[:3], found.error)


def _of(kind: str, family: str) -> Told:
    return kind, family, _told(kind, family), ""


def _told(kind: str, family: str) -> str:
    if family in FOREIGN or family == OTHER:
        return f"{kind} for {family}, which is not supported"
    return f"{kind}, {FAMILY_NAMES.get(family, family)}" if family else kind


_EXTRAS = {"inpaint": "for inpainting", "edit": "for editing", "depth": "with depth", "upscale": "x4 upscaler"}
_TOLD: dict[Kind, Callable[[Any], Told]] = {
    "checkpoint": _checkpoint, "vae": _vae, "vae_approx": _tiny, "lora": _network, "embedding": _embedding,
    "hypernetwork": _hypernetwork, "controlnet": _control,
}  # fmt: skip
LISTED: tuple[Kind, ...] = tuple(_TOLD)
"""The kinds that are listed, in their order."""
