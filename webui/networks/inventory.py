"""Everything in the models folder that a picture can be drawn with, as the command line lists it. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.control_catalogue import ControlCatalogue
from webui.checkpoints.tiny import TinyCatalogue
from webui.networks.catalogue import NetworkCatalogue
from webui.networks.embeddings import EmbeddingCatalogue
from webui.networks.family import FAMILY_NAMES
from webui.networks.hypernetworks import HypernetworkCatalogue


@dataclass(frozen=True)
class Item:
    """A file or model folder. said: what it is, or what is wrong with it."""

    name: str
    bytes: int
    said: str


def inventory(models_dir: Path) -> Iterator[Item]:
    """Checkpoints, VAE files, tiny autoencoders, networks, embeddings, hypernetworks, control models: each by name."""
    catalogue = Catalogue(models_dir)
    for model in catalogue.list():
        yield Item(model.name, model.bytes, model.error or model.family)
    for vae in catalogue.vaes.list():
        yield Item(vae.name, _size(vae.path), vae.error or "VAE")
    for tiny in TinyCatalogue(models_dir).list():
        yield Item(tiny.name, tiny.bytes, tiny.said)
    for network in NetworkCatalogue(models_dir).list():
        said = _told(network.info.kind, network.info.family) if network.info else network.error
        yield Item(network.name, network.bytes, said)
    for word in EmbeddingCatalogue(models_dir).list():
        count = word.info.vectors if word.info else 0
        plain = "embedding, 1 vector" if count == 1 else f"embedding, {count} vectors"
        yield Item(word.name, word.bytes, _told(plain, word.info.family) if word.info else word.error)
    for hyper in HypernetworkCatalogue(models_dir).list():
        yield Item(hyper.name, hyper.bytes, _told("hypernetwork", hyper.info.family) if hyper.info else hyper.error)
    for control in ControlCatalogue(models_dir).list():
        yield Item(control.name, control.bytes, control.error or _told(control.kind, control.family))


def _told(kind: str, family: str) -> str:
    return f"{kind}, {FAMILY_NAMES.get(family, family)}" if family else kind


def _size(path: Path) -> int:
    """0 for a file that has gone since it was listed."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
