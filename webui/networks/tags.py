"""What can be said of a prompt's tags before a model is loaded: kinds, files, families, strengths. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from webui.networks.catalogue import NetworkCatalogue, NetworkFile
from webui.networks.family import check_family
from webui.networks.strengths import Strengths, read_strengths
from webui.prompt.tags import ExtraNetwork
from webui.schema.errors import BadRequest

KINDS = ("lora", "lyco")


def check_tags(
    tags: Sequence[ExtraNetwork], catalogue: NetworkCatalogue, family: str = ""
) -> tuple[tuple[NetworkFile, Strengths], ...]:
    """The file and the strengths of each tag. family: of the model that is to draw, where it is known.

    Raises:
        BadRequest: a tag of a kind that is none of `KINDS`, without a name, or with a weight that is none.
        NotFound, ModelError: no file is meant, it cannot be used, or it is for another family.
    """
    return tuple(_checked(tag, catalogue, family) for tag in tags)


def _checked(tag: ExtraNetwork, catalogue: NetworkCatalogue, family: str) -> tuple[NetworkFile, Strengths]:
    if tag.kind not in KINDS:
        known = " or ".join(f"<{kind}:...>" for kind in KINDS)
        raise BadRequest(f"Tags of the kind of {tag} are not known here.", f"Write {known}, or take it out.")
    strengths = read_strengths(tag)
    file = catalogue.find(tag.name)
    if family and file.info is not None:
        check_family(tag.name, file.info.kind, file.info.family, family)
    return file, strengths
