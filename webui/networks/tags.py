"""What can be said of a prompt's tags before a model is loaded: kinds, files, families, strengths. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.checkpoints.forms import Memory
from webui.checkpoints.places import Places
from webui.networks.catalogue import NetworkCatalogue, NetworkFile
from webui.networks.embeddings import EmbeddingCatalogue
from webui.networks.family import check_family
from webui.networks.hypernetworks import KIND as HYPERNET
from webui.networks.hypernetworks import HypernetworkCatalogue, HypernetworkFile
from webui.networks.strengths import Strengths, read_strengths
from webui.prompt.tags import ExtraNetwork
from webui.schema.errors import BadRequest

KINDS = ("lora", "lyco", HYPERNET)


@dataclass(frozen=True)
class Catalogues:
    """All that a prompt may name."""

    networks: NetworkCatalogue
    hypernetworks: HypernetworkCatalogue
    embeddings: EmbeddingCatalogue

    @classmethod
    def of(cls, where: Places | Path | str, memory: Memory | None = None) -> Catalogues:
        shared = memory or Memory()
        return cls(
            NetworkCatalogue(where, shared), HypernetworkCatalogue(where, shared), EmbeddingCatalogue(where, shared)
        )


@dataclass(frozen=True)
class CheckedTag:
    """A tag, the file it means, and how strongly it wants it."""

    tag: ExtraNetwork
    file: NetworkFile | HypernetworkFile
    strengths: Strengths


def check_tags(tags: Sequence[ExtraNetwork], catalogues: Catalogues, family: str = "") -> tuple[CheckedTag, ...]:
    """The file and the strengths of each tag. family: of the model that is to draw, where it is known.

    Raises:
        BadRequest: a tag of a kind that is none of `KINDS`, without a name, or with a weight that is none.
        NotFound, ModelError: no file is meant, it cannot be used, or it is for another family.
    """
    return tuple(_checked(tag, catalogues, family) for tag in tags)


def _checked(tag: ExtraNetwork, catalogues: Catalogues, family: str) -> CheckedTag:
    if tag.kind not in KINDS:
        known = ", ".join(f"<{kind}:...>" for kind in KINDS)
        raise BadRequest(f"Tags of the kind of {tag} are not known here.", f"Known are {known}; or take it out.")
    strengths = read_strengths(tag)
    if tag.kind == HYPERNET:
        hypernetwork = catalogues.hypernetworks.find(tag.name)
        if family and hypernetwork.info is not None:
            check_family(tag.name, "hypernetwork", hypernetwork.info.family, family)
        return CheckedTag(tag, hypernetwork, strengths)
    file = catalogues.networks.find(tag.name)
    if family and file.info is not None:
        check_family(tag.name, file.info.kind, file.info.family, family)
    return CheckedTag(tag, file, strengths)
