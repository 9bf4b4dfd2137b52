"""The networks of all places, known by their headers: no torch, and nothing of the weights is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from webui.checkpoints.forms import Memory
from webui.checkpoints.header import read_header
from webui.checkpoints.places import Places
from webui.networks.detect import NetworkInfo, detect_network
from webui.networks.files import FOLDER_STEMS, beside
from webui.networks.named_files import NamedFile, NamedFiles, NamedForm

TAKE_OUT = "take it out of the prompt"


@dataclass(frozen=True)
class NetworkFile(NamedFile[NetworkInfo]):
    """A file as pages list it. info: what it is; None where `error` says why it cannot be used."""

    @property
    def alias(self) -> str:
        """The name its author gave it in training, "" where there is none."""
        return self.info.alias if self.info is not None else ""


class NetworkCatalogue(NamedFiles[NetworkFile]):
    """Networks of all places: in the folders Lora and LyCORIS and below them."""

    def __init__(self, where: Places | Path | str, memory: Memory | None = None) -> None:
        form = NamedForm(
            "lora", NetworkFile, _detect, TypeAdapter(NetworkInfo), FOLDER_STEMS.__contains__, _aliases,
        )  # fmt: skip
        super().__init__(where, memory, form, "network", f"Until then, {TAKE_OUT}.", TAKE_OUT)


def _detect(path: Path) -> NetworkInfo:
    return detect_network(read_header(path), beside(path))


def _aliases(file: NetworkFile) -> Sequence[str]:
    return (file.alias,) if file.alias else ()
