"""Textual inversion embeddings (Gal et al. 2022, arXiv:2208.01618) in the models folder, by their headers. No torch.

An embedding is one or more vectors that a word in a prompt stands for, for each text encoder of a model:

    emb_params (n d)                  SD 1.x and 2.x, as A1111 writes and converted pickles have it
    <word> (n d) or (d)               the same as diffusers writes it, one tensor under the word's own name
    clip_l (n 768), clip_g (n 1280)   SDXL; also text_encoders_0, text_encoders_1
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from webui.checkpoints.forms import Memory
from webui.checkpoints.header import Header, read_header
from webui.checkpoints.kinds import EMBEDDINGS, wrong_kind
from webui.checkpoints.places import Places
from webui.networks.family import FAMILY_NAMES
from webui.networks.named_files import NamedFile, NamedFiles, NamedForm
from webui.nn.config import ModelConfig
from webui.schema.errors import ModelError

_PAIRS = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"))
_ONE = ("emb_params", "string_to_param.*", "*")
_FAMILIES = {(768,): "sd1", (1024,): "sd2", (768, 1280): "sdxl", (1280,): "sdxl_refiner"}
"""Widths of the vectors for each text encoder -> family."""


@dataclass(frozen=True)
class EmbeddingInfo:
    """keys: the tensor of each text encoder, in the order in which the U-Net reads them; widths: of their vectors;
    vectors: how many tokens the word takes."""

    keys: tuple[str, ...]
    widths: tuple[int, ...]
    vectors: int

    @property
    def family(self) -> str:
        """Of the checkpoints it fits, "" where it is none of the published ones."""
        return _FAMILIES.get(self.widths, "")

    def fits(self, config: ModelConfig) -> bool:
        return bool(self.keys_for(config))

    def keys_for(self, config: ModelConfig) -> tuple[str, ...]:
        """The tensor of each text encoder of a model; none where it does not fit. SDXL's refiner reads the second part
        of SDXL's embeddings."""
        wanted = tuple(text.width for text in config.texts)
        if config.family == "sdxl_refiner" and wanted == self.widths[-1:]:
            return self.keys[-1:]
        return self.keys if wanted == self.widths else ()


class EmbeddingFile(NamedFile[EmbeddingInfo]):
    """A file as pages list it. name: the word that stands for it; info: None where `error` says why it cannot be
    used."""


class EmbeddingCatalogue(NamedFiles[EmbeddingFile]):
    """Embeddings of all places: in the folders embeddings, also that beside the folder models, as A1111 has it. Of
    several with one word, say of two families, the first that fits a model counts."""

    def __init__(self, where: Places | Path | str, memory: Memory | None = None) -> None:
        super().__init__(where, memory, _FORM, "embedding", "", "")


def describe_embedding(path: Path, name: str, size: int = 0) -> EmbeddingFile:
    """What the header of a file says, or in `error` why it cannot be used. size: bytes."""
    return _FORM.describe(path, name, size)


def detect_embedding(header: Header) -> EmbeddingInfo:
    """The vectors of a file, from its header.

    Raises:
        ModelError: it is no embedding.
    """
    keys = _keys(header)
    shapes = [header.tensors[key].shape for key in keys]
    if not keys or any(len(shape) not in (1, 2) or 0 in shape for shape in shapes):
        raise wrong_kind(header, "embedding", EMBEDDINGS, _CURE, "It has no vectors by a known name. ")
    counts = {1 if len(shape) == 1 else shape[0] for shape in shapes}
    if len(counts) > 1:
        raise ModelError("This embedding has another number of vectors for each text encoder.", _CURE)
    return EmbeddingInfo(keys, tuple(shape[-1] for shape in shapes), counts.pop())


def check_fits(name: str, info: EmbeddingInfo, config: ModelConfig) -> None:
    """Raises ModelError for an embedding of another family than the loaded model's."""
    if not info.fits(config):
        fits = FAMILY_NAMES.get(info.family, f"text encoders of {' and '.join(map(str, info.widths))} channels")
        loaded = FAMILY_NAMES.get(config.family, config.family)
        raise ModelError(
            f'"{name}" is an embedding for {fits}, the loaded model is {loaded}.',
            f"Choose a checkpoint of {fits}, or take the word out of the prompt.",
        )


_CURE = f"Put a textual inversion embedding into {EMBEDDINGS}."


def _keys(header: Header) -> tuple[str, ...]:
    """The tensor of each text encoder; none where this is no embedding."""
    names = header.tensors
    for pair in _PAIRS:
        if any(key in names for key in pair):
            return tuple(key for key in pair if key in names)
    known = [key for key in _ONE if key in names]
    return tuple(known[:1] or (names if len(names) == 1 else ()))


_FORM = NamedForm(
    "embedding", EmbeddingFile, lambda path: detect_embedding(read_header(path)), TypeAdapter(EmbeddingInfo), words=True
)
